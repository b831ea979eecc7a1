#include "core/tokenizer/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <queue>
#include <tuple>

#include "core/tokenizer/utf8.h"

namespace hearth::tokenizer {
namespace {

/// Up to here a scan over all pairs for each merge is faster than a heap.
constexpr std::size_t kShortSymbols = 64;

std::uint64_t to_pair(TokenId left, TokenId right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
           static_cast<std::uint32_t>(right);
}

}  // namespace

const Bpe::Slot Bpe::kNoSlot;

Bpe::Bpe(const std::array<TokenId, 256>& byte_tokens, std::span<const MergeRule> rules)
    : byte_tokens_(byte_tokens),
      slots_(std::bit_ceil(2 * rules.size() + 2)) {
    for (const char byte : kReplacement) {
        const TokenId token = byte_tokens_[static_cast<std::uint8_t>(byte)];
        if (token != kNoToken) replacement_.push_back(token);
    }
    if (replacement_.size() != kReplacement.size()) replacement_.clear();
    std::uint32_t rank = 0;
    for (const MergeRule& rule : rules) {
        const std::uint64_t pair = to_pair(rule.left, rule.right);
        std::size_t at = first_slot(pair);
        while (slots_[at].pair != kEmpty && slots_[at].pair != pair) {
            at = (at + 1) & (slots_.size() - 1);
        }
        // Of two rules for one pair the first counts.
        if (slots_[at].pair == kEmpty) slots_[at] = {pair, rank, rule.merged};
        ++rank;
    }
}

std::size_t Bpe::first_slot(std::uint64_t pair) const {
    const std::uint64_t mixed = pair * 0x9E3779B97F4A7C15U;  // the golden ratio spreads the bits
    return static_cast<std::size_t>(mixed >> 32) & (slots_.size() - 1);
}

const Bpe::Slot& Bpe::find(TokenId left, TokenId right) const {
    const std::uint64_t pair = to_pair(left, right);
    for (std::size_t at = first_slot(pair);; at = (at + 1) & (slots_.size() - 1)) {
        if (slots_[at].pair == pair) return slots_[at];
        if (slots_[at].pair == kEmpty) return kNoSlot;
    }
}

void Bpe::encode(std::string_view piece, std::vector<TokenId>& tokens) const {
    std::array<TokenId, kShortSymbols> few;
    std::vector<TokenId> many;
    std::size_t count = 0;
    const bool is_short = piece.size() * kReplacement.size() <= kShortSymbols;
    if (!is_short) many.reserve(piece.size());
    for (const char byte : piece) {
        const TokenId token = byte_tokens_[static_cast<std::uint8_t>(byte)];
        const std::span<const TokenId> symbols =
            token != kNoToken ? std::span(&token, 1) : std::span(replacement_);
        for (const TokenId symbol : symbols) {
            if (is_short) {
                few[count++] = symbol;
            } else {
                many.push_back(symbol);
            }
        }
    }
    if (is_short) return merge_short(std::span(few).first(count), tokens);
    if (many.size() <= kShortSymbols) return merge_short(many, tokens);
    merge_long(many, tokens);
}

void Bpe::merge_short(std::span<TokenId> symbols, std::vector<TokenId>& tokens) const {
    std::array<const Slot*, kShortSymbols> merges;  // of symbol i with symbol i + 1
    std::size_t count = symbols.size();
    for (std::size_t i = 0; i + 1 < count; ++i) {
        merges[i] = &find(symbols[i], symbols[i + 1]);
    }
    while (count > 1) {
        std::size_t at = 0;
        for (std::size_t i = 1; i + 1 < count; ++i) {
            if (merges[i]->rank < merges[at]->rank) at = i;
        }
        if (merges[at]->rank == kNoRank) break;
        symbols[at] = merges[at]->merged;
        --count;
        for (std::size_t i = at + 1; i < count; ++i) {
            symbols[i] = symbols[i + 1];
            merges[i - 1] = merges[i];
        }
        if (at > 0) merges[at - 1] = &find(symbols[at - 1], symbols[at]);
        if (at + 1 < count) merges[at] = &find(symbols[at], symbols[at + 1]);
    }
    tokens.insert(
        tokens.end(), symbols.begin(), symbols.begin() + static_cast<std::ptrdiff_t>(count));
}

void Bpe::merge_long(std::span<TokenId> symbols, std::vector<TokenId>& tokens) const {
    // A list threaded through the symbols; one that was merged into its left neighbour is kNoToken.
    const std::size_t end = symbols.size();
    std::vector<std::uint32_t> next(end);
    std::vector<std::uint32_t> previous(end);
    struct Candidate {
        std::uint32_t rank;
        std::uint32_t at;
        std::uint64_t pair;  ///< what was there: the candidate is stale if that has changed
        TokenId merged;
        bool operator>(const Candidate& other) const {
            return std::tie(rank, at) > std::tie(other.rank, other.at);
        }
    };
    std::vector<Candidate> first;
    const auto candidate_at = [&](std::size_t left, std::size_t right) {
        const Slot& slot = find(symbols[left], symbols[right]);
        return Candidate{slot.rank, static_cast<std::uint32_t>(left), slot.pair, slot.merged};
    };
    for (std::size_t i = 0; i < end; ++i) {
        next[i] = static_cast<std::uint32_t>(i + 1);
        previous[i] = static_cast<std::uint32_t>(i - 1);
        if (i + 1 == end) break;
        if (const Candidate found = candidate_at(i, i + 1); found.rank != kNoRank) {
            first.push_back(found);
        }
    }
    std::priority_queue queue(std::greater<Candidate>{}, std::move(first));
    while (!queue.empty()) {
        const Candidate best = queue.top();
        queue.pop();
        const std::uint32_t left = best.at;
        const std::uint32_t right = next[left];
        if (right >= end || to_pair(symbols[left], symbols[right]) != best.pair) continue;
        symbols[left] = best.merged;
        symbols[right] = kNoToken;
        next[left] = next[right];
        if (next[left] < end) {
            previous[next[left]] = left;
            const Candidate found = candidate_at(left, next[left]);
            if (found.rank != kNoRank) queue.push(found);
        }
        if (left > 0) {
            const Candidate found = candidate_at(previous[left], left);
            if (found.rank != kNoRank) queue.push(found);
        }
    }
    std::copy_if(symbols.begin(), symbols.end(), std::back_inserter(tokens), [](TokenId symbol) {
        return symbol != kNoToken;
    });
}

}  // namespace hearth::tokenizer
