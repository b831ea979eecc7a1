// Cuts the files of a corpus into windows and renders each as one training sample: code from left
// to right, or with a hole to fill, with or without what is like it in other files before it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "training/corpus/corpus_pack.h"
#include "training/samples/formats.h"
#include "training/samples/neighbours.h"
#include "training/samples/random.h"

namespace hearth::training {

struct CodePiece {
    std::uint32_t file_index = 0;
    std::uint32_t first_token = 0;  ///< of the file's tokens
    std::uint32_t tokens_max = 0;   ///< of the sample
};

class CodePieces {
  public:
    /// Encodes all files. `files` and `formats` outlive this; `window` is the most tokens of a
    /// sample.
    CodePieces(const std::vector<CorpusFile>& files, SampleFormats& formats, std::size_t window);

    /// The pieces of all files of one split; the next one starts at a line before the end of the
    /// one before, so that every token is in some sample. Held-out pieces are whole windows; of
    /// training ones most are short, since a sample has one hole, however long it is.
    [[nodiscard]] std::vector<CodePiece> cut(bool is_heldout) const;

    /// A sample: 85 % with a hole, 40 % with what is like it in other files before it, for which
    /// a short piece gets more tokens and a whole window shows less of its own file.
    [[nodiscard]] Tokens render(const CodePiece& piece, Random& random);
    /// The text from left to right, at most `tokens_max` tokens.
    [[nodiscard]] Tokens render_plain(const CodePiece& piece, std::size_t tokens_max);

    [[nodiscard]] std::size_t text_tokens(const CodePiece& piece) const;

  private:
    struct Window {
        std::string_view text;
        bool is_file_end = false;
    };

    [[nodiscard]] Window text_of(const CodePiece& piece, std::size_t tokens_max) const;
    [[nodiscard]] std::size_t next_start(const CodePiece& piece) const;
    [[nodiscard]] std::size_t pick_context_tokens(Random& random) const;
    Tokens head_of(const CodePiece& piece,
                   const CursorPlace& place,
                   std::size_t context_tokens_max,
                   Random& random);
    Tokens render_hole(const CodePiece& piece,
                       const Window& window,
                       std::size_t context_tokens_max,
                       std::size_t tokens_max,
                       Random& random);

    const std::vector<CorpusFile>* files_;
    SampleFormats* formats_;
    std::size_t window_;
    std::vector<Tokens> tokens_;                       // of each file
    std::vector<std::vector<std::uint32_t>> offsets_;  // byte where each token starts
    Neighbours neighbours_;
};

}  // namespace hearth::training
