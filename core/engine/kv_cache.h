// KvCache: which block of the key/value store holds which tokens. Published blocks form a tree:
// below a block hang the blocks that followed it in some sequence, so that a known prefix is a walk
// from the root, exact, with no hash to collide. Blocks that no sequence uses stay as kept prefixes
// until their room is needed. Knows tokens, counts and block numbers; the rows are elsewhere.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "core/compute/compute.h"

namespace hearth::engine {

/// The blocks of one sequence.
struct BlockTable {
    std::vector<std::int32_t> blocks;   ///< token i lies in blocks[i / kBlockTokens]
    std::int32_t computed_tokens = 0;   ///< tokens at the head whose rows are in the cache
    std::int32_t published_blocks = 0;  ///< blocks at the head that are in the tree
};

/// What becomes of the rows of a sequence that ends.
enum class Rows : std::uint8_t {
    keep,     ///< they are right: kept for later sequences until their room is needed
    distrust  ///< the sequence failed: forgotten as far as nobody else uses them
};

/// A block is *private* (one user, who may write it), *published* (full, any number of users, never
/// written; or a partial end that somebody left, no users, only ever copied) or *free*.
///
/// Thread: engine. Takes no memory after construction, but for the tables.
class KvCache {
  public:
    using CopyBlock = std::function<void(std::int32_t from, std::int32_t to)>;

    /// `copy_block` copies the rows of one block over those of another.
    KvCache(std::int32_t block_count, CopyBlock copy_block);

    /// How many tokens at the head of `tokens` try_reserve would find. The last token is never
    /// among them: somebody wants its logits.
    [[nodiscard]] std::int32_t match_prefix(std::span<const std::int32_t> tokens) const;

    /// Fills an empty table with room for `tokens`: known blocks first, then a copy of the block in
    /// which the match ends, then fresh ones. At most `known_max` tokens count as known. False, and
    /// nothing changed, when room is short.
    [[nodiscard]] bool try_reserve(
        std::span<const std::int32_t> tokens,
        BlockTable& table,
        std::int32_t known_max = std::numeric_limits<std::int32_t>::max());

    /// Adds blocks until `token_count` tokens fit. False when room is short; what was added stays.
    [[nodiscard]] bool try_extend(BlockTable& table, std::int32_t token_count);

    /// Notes that the rows of the first `computed_tokens` of `tokens` are computed and publishes
    /// the blocks that became full. A block whose tokens are known already is exchanged for the
    /// known one.
    void commit(std::span<const std::int32_t> tokens,
                BlockTable& table,
                std::int32_t computed_tokens);

    /// Gives all blocks back and empties the table.
    void release(std::span<const std::int32_t> tokens, BlockTable& table, Rows rows);

    [[nodiscard]] std::int32_t block_count() const { return root_; }
    /// Blocks that no sequence uses: free ones and kept prefixes.
    [[nodiscard]] std::int32_t idle_count() const { return idle_count_; }

    /// Whether every rule of this class holds, given all tables in use. For tests.
    [[nodiscard]] bool is_consistent(std::span<const BlockTable* const> tables) const;

  private:
    struct Block {
        std::array<std::int32_t, compute::kBlockTokens> tokens{};
        std::int32_t token_count = 0;  ///< published: tokens it holds
        std::int32_t users = 0;        ///< tables that name it
        bool is_published = false;
        // Place in the tree; the root's number stands for "none".
        std::int32_t parent = 0, first_child = 0, next_sibling = 0, previous_sibling = 0;
        // Place in the ring of idle blocks.
        std::int32_t older = 0, newer = 0;
    };
    struct Match {
        std::int32_t tokens = 0;   ///< matched in all
        std::int32_t deepest = 0;  ///< last block that matched whole, or the root
        std::int32_t source = 0;   ///< the block in which the match ends, or the root
    };

    Block& at(std::int32_t block) { return blocks_[static_cast<std::size_t>(block)]; }
    [[nodiscard]] const Block& at(std::int32_t block) const {
        return blocks_[static_cast<std::size_t>(block)];
    }
    [[nodiscard]] Match find(std::span<const std::int32_t> tokens, std::size_t known_max) const;
    std::int32_t publish(std::int32_t parent,
                         std::span<const std::int32_t> tokens,
                         std::int32_t block);
    void unpublish(std::int32_t block);
    std::int32_t take();
    void acquire(std::int32_t block);
    void drop(std::int32_t block, Rows rows);
    void make_idle(std::int32_t block, bool is_newest);
    void leave_idle(std::int32_t block);
    [[nodiscard]] bool is_block_consistent(std::int32_t block, std::int32_t tables) const;

    // Fixed after construction.
    const std::int32_t root_;  ///< a block of no tokens: head of the tree and of the idle ring
    const CopyBlock copy_block_;

    // Engine thread only. In the idle ring free blocks come first, then kept ones, least recently
    // used first. Whoever uses a block uses its parent too and gives it back later, so the oldest
    // idle block never has children.
    std::vector<Block> blocks_;
    std::int32_t idle_count_ = 0;
};

/// Blocks that hold `token_count` tokens.
constexpr std::int32_t blocks_for(std::int64_t token_count) {
    return static_cast<std::int32_t>((token_count + compute::kBlockTokens - 1) /
                                     compute::kBlockTokens);
}

}  // namespace hearth::engine
