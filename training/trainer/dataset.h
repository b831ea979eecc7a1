// The tokens that training and evaluation read: shards of little-endian 16-bit ids in a folder,
// seen as windows that a fixed walk visits each once per pass.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "training/trainer/model.h"

namespace hearth::trainer {

/// The paths of `folder`/`prefix`*.bin in the order of their names.
std::vector<std::string> shard_paths(const std::string& folder, const std::string& prefix);

/// All shards of one prefix, joined in the order of their names.
class TokenShards {
  public:
    /// Reads `folder`/`prefix`*.bin; none is no error and gives no tokens.
    /// Errors: io; corrupt (an odd size, an id not below vocab_size).
    static Result<TokenShards> load(const std::string& folder,
                                    const std::string& prefix,
                                    std::size_t vocab_size);

    explicit TokenShards(std::vector<std::uint16_t> tokens) : tokens_(std::move(tokens)) {}

    [[nodiscard]] std::span<const std::uint16_t> tokens() const { return tokens_; }
    /// Windows of `length` inputs and their targets, one token to the right.
    [[nodiscard]] std::size_t window_count(std::size_t length) const;

  private:
    std::vector<std::uint16_t> tokens_;
};

/// Owns the ids that a TokenBatch views.
struct BatchBuffer {
    std::vector<std::int32_t> inputs, targets;
    std::size_t window_count = 0, length = 0;

    void clear();
    /// Appends window `index` of `shards` in their natural order.
    void append(const TokenShards& shards, std::size_t index);
    [[nodiscard]] TokenBatch view() const { return {inputs, targets, window_count, length}; }
};

/// The window that the walk visits at `step`: every window once, far apart from its neighbours,
/// before any comes again.
std::size_t walk_window(std::size_t step, std::size_t window_count);

/// Draws the head's candidates: the `frequent` most common tokens, the targets of a batch, and
/// `sampled` others.
class CandidateSampler {
  public:
    CandidateSampler(const TokenShards& shards,
                     std::size_t vocab_size,
                     std::size_t frequent,
                     std::size_t sampled);

    /// The draw depends on `seed` alone.
    void draw(std::span<const std::int32_t> targets, std::uint64_t seed, HeadCandidates& out) const;

  private:
    std::vector<std::uint32_t> by_frequency_;  // most common first
    const std::size_t frequent_, sampled_;
};

}  // namespace hearth::trainer
