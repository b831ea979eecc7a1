// Packs samples into blocks of one window each, so that no training window cuts a sample in two.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "training/samples/formats.h"

namespace hearth::training {

/// Keeps short samples until some of them fill a block; what is left at a block's end is given to
/// the beginning of another text, or to padding if it is too short even for that.
class BlockPacker {
  public:
    /// `filler(tokens_max)` gives text of at most that many tokens that may be cut anywhere.
    using Filler = std::function<Tokens(std::size_t tokens_max)>;

    BlockPacker(std::size_t window, TokenId padding, Filler filler)
        : window_(window),
          padding_(padding),
          filler_(std::move(filler)) {}

    /// `sample` has 1 to window tokens.
    void add(Tokens sample);
    /// Makes blocks of all samples that are still waiting.
    void flush();
    /// The blocks so far, end to end; the packer forgets them.
    Tokens take();

    [[nodiscard]] std::size_t ready_tokens() const { return blocks_.size(); }
    [[nodiscard]] std::size_t padding_count() const { return padding_count_; }

  private:
    void make_block();

    std::size_t window_;
    TokenId padding_;
    Filler filler_;
    std::multimap<std::size_t, Tokens> waiting_;  // by length
    Tokens blocks_;
    std::size_t padding_count_ = 0;
};

}  // namespace hearth::training
