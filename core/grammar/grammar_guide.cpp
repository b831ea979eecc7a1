#include "core/grammar/grammar_guide.h"

#include <algorithm>
#include <atomic>
#include <new>
#include <optional>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>

#include "core/base/mutex.h"
#include "core/base/thread.h"
#include "core/grammar/recogniser.h"

namespace hearth::grammar {
namespace {

using tokenizer::TokenId;
using Mask = std::vector<std::uint32_t>;
using State = Recogniser::State;

constexpr std::size_t kStatesMax = 8192;  ///< about a kilobyte each
constexpr std::size_t kMasksMax = 64;

std::size_t common_head(std::string_view a, std::string_view b) {
    return static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

/// Which tokens fit behind a state: the vocabulary in the order of its bytes, so that tokens with
/// one beginning share the way.
class MaskMaker {
  public:
    MaskMaker(std::shared_ptr<const Grammar> grammar,
              const tokenizer::Tokenizer& tokenizer,
              std::shared_ptr<const tokenizer::TokenOrder> order)
        : recogniser_(std::move(grammar)),
          tokenizer_(tokenizer),
          order_(std::move(order)),
          state_(recogniser_.start()) {}

    /// False: the token does not fit.
    bool advance(TokenId token) {
        for (const char byte : tokenizer_.token_bytes(token)) {
            state_ = recogniser_.next(state_, static_cast<std::uint8_t>(byte));
            if (state_ == Recogniser::kDead) return false;
        }
        if (recogniser_.state_count() > kStatesMax) {
            state_ = recogniser_.forget_others(state_);
            masks_.clear();
        }
        return true;
    }

    const Mask& mask() {
        if (masks_.size() >= kMasksMax && !masks_.contains(state_)) masks_.clear();
        const auto [found, is_new] = masks_.try_emplace(state_);
        if (is_new) found->second = make();
        return found->second;
    }

  private:
    Mask make() {
        Mask mask(static_cast<std::size_t>(compute::mask_words(tokenizer_.vocab_size())));
        bool has_any = false;
        const auto allow = [&](TokenId token) {
            compute::allow(mask.data(), token);
            has_any = true;
        };
        way_.assign(1, state_);  // the state behind each byte of `last`
        std::string_view last;
        std::size_t dead_bytes = 0;  // so many bytes of `last` do not fit; 0: all do
        for (const TokenId token : order_->tokens()) {
            const std::string_view bytes = tokenizer_.token_bytes(token);
            const std::size_t known = common_head(last, bytes);
            last = bytes;
            if (dead_bytes > 0 && known >= dead_bytes) continue;
            dead_bytes = 0;
            way_.resize(std::min(known + 1, way_.size()));
            while (way_.size() <= bytes.size()) {
                const State next = recogniser_.next(
                    way_.back(), static_cast<std::uint8_t>(bytes[way_.size() - 1]));
                if (next == Recogniser::kDead) {
                    dead_bytes = way_.size();
                    break;
                }
                way_.push_back(next);
            }
            if (dead_bytes == 0) allow(token);
        }
        if (recogniser_.is_complete(state_) || !has_any) {
            for (const TokenId token : tokenizer_.end_tokens()) {
                allow(token);
            }
        }
        return mask;
    }

    Recogniser recogniser_;
    const tokenizer::Tokenizer& tokenizer_;
    const std::shared_ptr<const tokenizer::TokenOrder> order_;
    State state_;
    std::unordered_map<State, Mask> masks_;
    std::vector<State> way_;
};

class GrammarGuide final : public engine::TokenGuide {
  public:
    explicit GrammarGuide(MaskMaker maker) : maker_(std::move(maker)), mask_(maker_.mask()) {
        thread_ = std::thread(&GrammarGuide::run, this);
    }
    ~GrammarGuide() override {
        {
            const LockGuard lock(mutex_);
            is_closing_ = true;
        }
        changed_.notify_all();
        thread_.join();
    }

    [[nodiscard]] bool is_active() const override { return !has_ended_; }
    [[nodiscard]] bool has_failed() const override { return has_failed_; }
    [[nodiscard]] std::span<const std::uint32_t> allowed() const override {
        const LockGuard lock(mutex_);
        while (token_) {
            changed_.wait(mutex_);
        }
        return mask_;
    }
    void accept(TokenId token) override {
        {
            const LockGuard lock(mutex_);
            while (token_) {
                changed_.wait(mutex_);
            }
            if (has_ended_) return;
            token_ = token;
        }
        changed_.notify_all();
    }

  private:
    void run() {
        name_thread(Thread::worker);
        for (;;) {
            TokenId token = 0;
            {
                const LockGuard lock(mutex_);
                while (!token_ && !is_closing_) {
                    changed_.wait(mutex_);
                }
                if (is_closing_) return;
                token = *token_;
            }
            Mask mask;
            bool fits = false;
            try {
                fits = maker_.advance(token);
                if (fits) mask = maker_.mask();
            } catch (const std::bad_alloc&) {
                fits = false;
                has_failed_ = true;
            }
            {
                const LockGuard lock(mutex_);
                mask_ = std::move(mask);
                has_ended_ = !fits;
                token_.reset();
            }
            changed_.notify_all();
            if (!fits) return;
        }
    }

    MaskMaker maker_;  ///< of the thread, once it runs
    mutable Mutex mutex_;
    mutable ConditionVariable changed_;
    Mask mask_ HEARTH_GUARDED_BY(mutex_);
    std::optional<TokenId> token_ HEARTH_GUARDED_BY(mutex_);  ///< what came and is not yet read
    bool is_closing_ HEARTH_GUARDED_BY(mutex_) = false;
    std::atomic<bool> has_ended_ = false;
    std::atomic<bool> has_failed_ = false;
    std::thread thread_;
};

}  // namespace

std::shared_ptr<engine::TokenGuide> make_guide(std::shared_ptr<const Grammar> grammar,
                                               const tokenizer::Tokenizer& tokenizer,
                                               std::shared_ptr<const tokenizer::TokenOrder> order) {
    return std::make_shared<GrammarGuide>(
        MaskMaker(std::move(grammar), tokenizer, std::move(order)));
}

}  // namespace hearth::grammar
