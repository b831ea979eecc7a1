#include "training/tokenizer/bpe_trainer.h"

#include <algorithm>
#include <queue>

#include "core/tokenizer/pre_tokenizer.h"

namespace hearth::training {
namespace {

constexpr std::uint32_t kNone = UINT32_MAX;
constexpr TokenId kGone = UINT16_MAX;  // a place whose token was merged into the one before

struct Candidate {
    std::int64_t count;
    std::uint32_t pair;

    bool operator<(const Candidate& other) const {
        return count != other.count ? count < other.count : pair > other.pair;
    }
};

struct PairInfo {
    std::int64_t count = 0;
    std::vector<std::uint32_t> places;  // of the left token; may hold places that have changed
};

std::uint32_t pair_key(TokenId left, TokenId right) {
    return (static_cast<std::uint32_t>(left) << 16U) | right;
}

class MergeTrainer {
  public:
    explicit MergeTrainer(const WordCounts& counts) {
        std::vector<std::pair<std::string_view, std::uint32_t>> words(counts.begin(), counts.end());
        std::ranges::sort(words);  // the order of a hash table must not show in the result
        for (const auto& [word, count] : words) {
            add_word(word, count);
        }
        for (const auto& [key, info] : pairs_) {
            queue_.push({info.count, key});
        }
        for (unsigned byte = 0; byte < 256; ++byte) {
            texts_.push_back({static_cast<char>(byte)});
            id_of_.emplace(texts_.back(), static_cast<TokenId>(byte));
        }
    }

    std::vector<TokenizerFile::Merge> run(std::size_t vocab_size) {
        std::vector<TokenizerFile::Merge> merges;
        while (texts_.size() < vocab_size && !queue_.empty()) {
            const Candidate best = queue_.top();
            queue_.pop();
            const auto found = pairs_.find(best.pair);
            if (found == pairs_.end() || found->second.count != best.count) continue;  // outdated
            if (best.count < 2) break;
            const auto left = static_cast<TokenId>(best.pair >> 16U);
            const auto right = static_cast<TokenId>(best.pair & 0xFFFFU);
            merges.emplace_back(left, right);
            apply(left, right);
        }
        return merges;
    }

  private:
    void add_word(std::string_view word, std::uint32_t count) {
        for (std::size_t i = 0; i < word.size(); ++i) {
            const auto place = static_cast<std::uint32_t>(tokens_.size());
            tokens_.push_back(static_cast<unsigned char>(word[i]));
            counts_.push_back(count);
            previous_.push_back(i == 0 ? kNone : place - 1);
            next_.push_back(i + 1 == word.size() ? kNone : place + 1);
            if (i > 0) change(place - 1, place, count);
        }
    }

    /// Adds `amount` to the count of the pair at two neighbouring places.
    void change(std::uint32_t left, std::uint32_t right, std::int64_t amount) {
        const std::uint32_t key = pair_key(tokens_[left], tokens_[right]);
        PairInfo& info = pairs_[key];
        info.count += amount;
        if (amount > 0) info.places.push_back(left);
        touched_.push_back(key);
    }

    void apply(TokenId left, TokenId right) {
        const auto [entry, is_new] =
            id_of_.try_emplace(texts_[left] + texts_[right], static_cast<TokenId>(texts_.size()));
        if (is_new) texts_.push_back(entry->first);
        std::vector<std::uint32_t> places = std::move(pairs_[pair_key(left, right)].places);
        touched_.clear();
        for (const std::uint32_t place : places) {
            const std::uint32_t second = next_[place];
            if (tokens_[place] != left || second == kNone || tokens_[second] != right) continue;
            merge_at(place, second, entry->second);
        }
        std::ranges::sort(touched_);
        touched_.erase(std::unique(touched_.begin(), touched_.end()), touched_.end());
        for (const std::uint32_t key : touched_) {
            const auto found = pairs_.find(key);
            if (found->second.count > 0) {
                queue_.push({found->second.count, key});
            } else {
                pairs_.erase(found);
            }
        }
    }

    void merge_at(std::uint32_t place, std::uint32_t second, TokenId merged) {
        const std::int64_t count = counts_[place];
        const std::uint32_t before = previous_[place];
        const std::uint32_t after = next_[second];
        change(place, second, -count);
        if (before != kNone) change(before, place, -count);
        if (after != kNone) change(second, after, -count);
        tokens_[place] = merged;
        tokens_[second] = kGone;
        next_[place] = after;
        next_[second] = kNone;
        if (after != kNone) previous_[after] = place;
        if (before != kNone) change(before, place, count);
        if (after != kNone) change(place, after, count);
    }

    // One entry per byte of all words; neighbours are linked within a word.
    std::vector<TokenId> tokens_;
    std::vector<std::uint32_t> counts_, previous_, next_;

    std::unordered_map<std::uint32_t, PairInfo> pairs_;
    std::priority_queue<Candidate> queue_;
    std::vector<std::uint32_t> touched_;  // pairs whose count the current merge changed

    std::vector<std::string> texts_;
    std::unordered_map<std::string, TokenId> id_of_;
};

}  // namespace

void count_words(std::string_view text, WordCounts& counts) {
    std::vector<std::string_view> words;
    tokenizer::split(text, tokenizer::PreTokenizer::qwen2, words);
    for (const std::string_view word : words) {
        const auto found = counts.find(word);
        if (found == counts.end()) {
            counts.emplace(word, 1);
        } else {
            ++found->second;
        }
    }
}

std::vector<TokenizerFile::Merge> train_merges(const WordCounts& counts, std::size_t vocab_size) {
    return MergeTrainer(counts).run(vocab_size);
}

}  // namespace hearth::training
