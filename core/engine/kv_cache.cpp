#include "core/engine/kv_cache.h"

#include <algorithm>
#include <utility>

#include "core/base/assert.h"

namespace hearth::engine {
namespace {

using compute::kBlockTokens;

/// Length of the common head.
std::int32_t common_head(std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
    const auto [end, other_end] = std::ranges::mismatch(a, b);
    return static_cast<std::int32_t>(end - a.begin());
}

/// The tokens that block `index` of a sequence holds, at most up to `end`.
std::span<const std::int32_t> tokens_of_block(std::span<const std::int32_t> tokens,
                                              std::int32_t index,
                                              std::int32_t end) {
    const std::int32_t begin = index * kBlockTokens;
    const std::int32_t count = std::min(kBlockTokens, end - begin);
    return tokens.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
}

}  // namespace

KvCache::KvCache(std::int32_t block_count, CopyBlock copy_block)
    : root_(block_count),
      copy_block_(std::move(copy_block)),
      blocks_(static_cast<std::size_t>(block_count) + 1) {
    for (Block& block : blocks_) {
        block.parent = block.first_child = block.next_sibling = block.previous_sibling = root_;
        block.older = block.newer = root_;
    }
    for (std::int32_t block = 0; block < block_count; ++block) {
        make_idle(block, true);
    }
}

KvCache::Match KvCache::find(std::span<const std::int32_t> tokens, std::size_t known_max) const {
    Match match{0, root_, root_};
    const std::size_t limit = std::min(tokens.empty() ? 0 : tokens.size() - 1, known_max);
    while (true) {
        const auto rest = tokens.subspan(0, limit).subspan(static_cast<std::size_t>(match.tokens));
        std::int32_t best = root_;
        std::int32_t best_count = 0;
        for (std::int32_t child = at(match.deepest).first_child; child != root_;
             child = at(child).next_sibling) {
            const Block& block = at(child);
            const std::int32_t count = common_head(
                rest, std::span(block.tokens).first(static_cast<std::size_t>(block.token_count)));
            if (count > best_count) {
                best = child;
                best_count = count;
            }
        }
        match.tokens += best_count;
        if (best_count < kBlockTokens) {
            match.source = best;
            return match;
        }
        match.deepest = best;
    }
}

std::int32_t KvCache::match_prefix(std::span<const std::int32_t> tokens) const {
    return find(tokens, tokens.size()).tokens;
}

bool KvCache::try_reserve(std::span<const std::int32_t> tokens,
                          BlockTable& table,
                          std::int32_t known_max) {
    HEARTH_ASSERT(table.blocks.empty() && !tokens.empty());
    const Match match = find(tokens, static_cast<std::size_t>(known_max));
    const std::int32_t known = match.tokens / kBlockTokens;
    const std::int32_t total = blocks_for(static_cast<std::int64_t>(tokens.size()));
    std::int32_t known_idle = 0;
    for (std::int32_t block = match.deepest; block != root_; block = at(block).parent) {
        known_idle += at(block).users == 0 ? 1 : 0;
    }
    if (total - known > idle_count_ - known_idle) return false;

    table.blocks.resize(static_cast<std::size_t>(total));
    std::int32_t block = match.deepest;
    for (std::int32_t index = known; index-- > 0; block = at(block).parent) {
        acquire(block);
        table.blocks[static_cast<std::size_t>(index)] = block;
    }
    if (match.source != root_ && at(match.source).users == 0) {
        // As the newest it is the last to be taken: then it is its own copy.
        leave_idle(match.source);
        make_idle(match.source, true);
    }
    for (std::int32_t index = known; index < total; ++index) {
        const std::int32_t fresh = take();
        table.blocks[static_cast<std::size_t>(index)] = fresh;
        if (index == known && match.source != root_ && fresh != match.source) {
            copy_block_(match.source, fresh);
        }
    }
    table.computed_tokens = match.tokens;
    table.published_blocks = known;
    return true;
}

bool KvCache::try_extend(BlockTable& table, std::int32_t token_count) {
    const auto total = static_cast<std::size_t>(blocks_for(token_count));
    while (table.blocks.size() < total) {
        if (idle_count_ == 0) return false;
        table.blocks.reserve(table.blocks.size() + 1);  // may throw: before a block is taken
        table.blocks.push_back(take());
    }
    return true;
}

void KvCache::commit(std::span<const std::int32_t> tokens,
                     BlockTable& table,
                     std::int32_t computed_tokens) {
    HEARTH_ASSERT(computed_tokens >= table.computed_tokens);
    HEARTH_ASSERT(blocks_for(computed_tokens) <= static_cast<std::int32_t>(table.blocks.size()));
    table.computed_tokens = computed_tokens;
    std::int32_t& index = table.published_blocks;
    for (; (index + 1) * kBlockTokens <= computed_tokens; ++index) {
        std::int32_t& own = table.blocks[static_cast<std::size_t>(index)];
        const std::int32_t parent =
            index == 0 ? root_ : table.blocks[static_cast<std::size_t>(index) - 1];
        const std::int32_t known =
            publish(parent, tokens_of_block(tokens, index, computed_tokens), own);
        if (known != own) {
            acquire(known);
            drop(own, Rows::keep);
            own = known;
        }
    }
}

void KvCache::release(std::span<const std::int32_t> tokens, BlockTable& table, Rows rows) {
    const std::int32_t end = table.computed_tokens;
    if (rows == Rows::keep && end % kBlockTokens != 0) {
        const std::int32_t index = end / kBlockTokens;
        const std::int32_t parent =
            index == 0 ? root_ : table.blocks[static_cast<std::size_t>(index) - 1];
        const std::int32_t own = table.blocks[static_cast<std::size_t>(index)];
        const std::int32_t known = publish(parent, tokens_of_block(tokens, index, end), own);
        if (known != own && at(known).users == 0) {
            leave_idle(known);
            make_idle(known, true);
        }
    }
    // Backwards, so that leaves are older than their parents.
    for (auto block = table.blocks.rbegin(); block != table.blocks.rend(); ++block) {
        drop(*block, rows);
    }
    table = BlockTable{};
}

/// Hangs `block` with its `tokens` below `parent`. Returns the block of the tree that has them now:
/// `block`, or another one that had them before. Shorter ends that it makes superfluous are freed.
std::int32_t KvCache::publish(std::int32_t parent,
                              std::span<const std::int32_t> tokens,
                              std::int32_t block) {
    const auto count = static_cast<std::int32_t>(tokens.size());
    for (std::int32_t child = at(parent).first_child; child != root_;) {
        const Block& known = at(child);
        const std::int32_t next = known.next_sibling;
        const std::int32_t common = common_head(
            tokens, std::span(known.tokens).first(static_cast<std::size_t>(known.token_count)));
        if (common == count) return child;
        if (common == known.token_count) {
            leave_idle(child);
            unpublish(child);
            make_idle(child, false);
        }
        child = next;
    }
    Block& own = at(block);
    std::ranges::copy(tokens, own.tokens.begin());
    own.token_count = count;
    own.is_published = true;
    own.parent = parent;
    own.previous_sibling = root_;
    own.next_sibling = at(parent).first_child;
    if (own.next_sibling != root_) at(own.next_sibling).previous_sibling = block;
    at(parent).first_child = block;
    return block;
}

void KvCache::unpublish(std::int32_t block) {
    Block& own = at(block);
    HEARTH_ASSERT(own.is_published && own.first_child == root_);
    (own.previous_sibling == root_ ? at(own.parent).first_child
                                   : at(own.previous_sibling).next_sibling) = own.next_sibling;
    if (own.next_sibling != root_) at(own.next_sibling).previous_sibling = own.previous_sibling;
    own.parent = own.next_sibling = own.previous_sibling = root_;
    own.token_count = 0;
    own.is_published = false;
}

/// The oldest idle block, free for writing.
std::int32_t KvCache::take() {
    const std::int32_t block = at(root_).newer;
    HEARTH_ASSERT(block != root_);
    leave_idle(block);
    if (at(block).is_published) unpublish(block);
    at(block).users = 1;
    return block;
}

void KvCache::acquire(std::int32_t block) {
    if (at(block).users == 0) leave_idle(block);
    ++at(block).users;
}

void KvCache::drop(std::int32_t block, Rows rows) {
    Block& own = at(block);
    HEARTH_ASSERT(own.users > 0);
    if (--own.users > 0) return;
    if (rows == Rows::distrust && own.is_published && own.first_child == root_) unpublish(block);
    make_idle(block, own.is_published);
}

void KvCache::make_idle(std::int32_t block, bool is_newest) {
    Block& own = at(block);
    own.older = is_newest ? at(root_).older : root_;
    own.newer = is_newest ? root_ : at(root_).newer;
    at(own.older).newer = block;
    at(own.newer).older = block;
    ++idle_count_;
}

void KvCache::leave_idle(std::int32_t block) {
    Block& own = at(block);
    at(own.older).newer = own.newer;
    at(own.newer).older = own.older;
    own.older = own.newer = root_;
    --idle_count_;
}

bool KvCache::is_consistent(std::span<const BlockTable* const> tables) const {
    std::vector<std::int32_t> users(static_cast<std::size_t>(root_) + 1);
    for (const BlockTable* table : tables) {
        std::int32_t parent = root_;
        for (std::size_t i = 0; i < table->blocks.size(); ++i) {
            const std::int32_t block = table->blocks[i];
            const bool is_head = static_cast<std::int32_t>(i) < table->published_blocks;
            if (at(block).is_published != is_head) return false;
            if (is_head && at(block).parent != parent) return false;
            ++users[static_cast<std::size_t>(block)];
            parent = block;
        }
    }
    std::int32_t idle = 0;
    bool is_kept_seen = false;
    std::vector<bool> is_passed(static_cast<std::size_t>(root_) + 1);
    for (std::int32_t block = at(root_).newer; block != root_; block = at(block).newer) {
        if (is_kept_seen && !at(block).is_published) return false;
        if (is_passed[static_cast<std::size_t>(at(block).parent)]) return false;
        if (at(block).users != 0 || at(at(block).newer).older != block) return false;
        is_kept_seen = at(block).is_published;
        is_passed[static_cast<std::size_t>(block)] = true;
        ++idle;
    }
    std::int32_t unused = 0;
    for (std::int32_t block = 0; block < root_; ++block) {
        if (!is_block_consistent(block, users[static_cast<std::size_t>(block)])) return false;
        unused += at(block).users == 0 ? 1 : 0;
    }
    return idle == idle_count_ && unused == idle_count_;
}

bool KvCache::is_block_consistent(std::int32_t block, std::int32_t tables) const {
    const Block& own = at(block);
    if (own.users != tables) return false;
    if (!own.is_published) return own.users <= 1 && own.first_child == root_;
    if (own.token_count < kBlockTokens && (own.users != 0 || own.first_child != root_)) {
        return false;
    }
    if (own.parent != root_ &&
        (!at(own.parent).is_published || at(own.parent).token_count != kBlockTokens ||
         at(own.parent).users < own.users)) {
        return false;
    }
    std::int32_t times = 0;
    for (std::int32_t child = at(own.parent).first_child; child != root_;
         child = at(child).next_sibling) {
        times += child == block ? 1 : 0;
    }
    return times == 1;
}

}  // namespace hearth::engine
