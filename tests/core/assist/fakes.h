// What the assistant stands on, played by the test: a tokenizer of bytes, an engine that says what
// it is told to, plugins that are functions.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/mutex.h"
#include "core/engine/engine.h"
#include "core/plugin_host/plugin_host.h"
#include "core/tokenizer/tokenizer.h"

namespace hearth::test {

/// A byte is a token; others are named by the test: special ones, which begin with <, and texts
/// that are one token. "a<b>" never becomes a special one by itself.
class FakeTokenizer final : public tokenizer::Tokenizer {
  public:
    explicit FakeTokenizer(std::vector<std::string> names) : names_(std::move(names)) {
        for (int byte = 0; byte < 256; ++byte) {
            bytes_.push_back(std::string(1, static_cast<char>(byte)));
        }
        const auto role = [this](std::initializer_list<const char*> known) {
            std::optional<tokenizer::TokenId> found;
            for (const char* name : known) {
                if (!found) found = find(name);
            }
            return found;
        };
        special_.begin_of_text = role({"<s>"});
        special_.adds_begin_of_text = special_.begin_of_text.has_value();
        special_.end_of_text = role({"<|endoftext|>"});
        special_.fim_prefix = role({"<|fim_prefix|>", "<fim_prefix>", "<PRE>", "<｜fim▁begin｜>"});
        special_.fim_suffix = role({"<|fim_suffix|>", "<fim_suffix>", "<SUF>", "<｜fim▁hole｜>"});
        special_.fim_middle = role({"<|fim_middle|>", "<fim_middle>", "<MID>", "<｜fim▁end｜>"});
        special_.repo_name = role({"<|repo_name|>"});
        special_.file_sep = role({"<|file_sep|>"});
        if (special_.end_of_text) ends_.push_back(*special_.end_of_text);
    }

    static std::shared_ptr<const FakeTokenizer> own(
        tokenizer::InfillMark mark = tokenizer::InfillMark::cursor) {
        auto own = std::make_shared<FakeTokenizer>(std::vector<std::string>{"<|endoftext|>",
                                                                            "<|fim_prefix|>",
                                                                            "<|fim_suffix|>",
                                                                            "<|fim_middle|>",
                                                                            "<|repo_name|>",
                                                                            "<|file_sep|>",
                                                                            "<|explain|>",
                                                                            "<|fix|>",
                                                                            "<|bug|>"});
        own->special_.infill_mark = mark;
        return own;
    }

    [[nodiscard]] Result<std::vector<tokenizer::TokenId>> encode(
        std::string_view text, tokenizer::EncodeOptions /*options*/ = {}) const override {
        bytes_encoded_ += text.size();
        std::vector<tokenizer::TokenId> tokens;
        while (!text.empty()) {
            const auto joined = std::ranges::find_if(names_, [&](const std::string& name) {
                return !name.starts_with('<') && text.starts_with(name);
            });
            const auto name = static_cast<tokenizer::TokenId>(joined - names_.begin());
            tokens.push_back(joined == names_.end() ? static_cast<unsigned char>(text.front())
                                                    : 256 + name);
            text.remove_prefix(joined == names_.end() ? 1 : joined->size());
        }
        return tokens;
    }
    [[nodiscard]] std::string_view token_bytes(tokenizer::TokenId id) const override {
        const auto index = static_cast<std::size_t>(id);
        return index < 256 ? bytes_[index] : names_.at(index - 256);
    }
    [[nodiscard]] std::int32_t vocab_size() const override {
        return static_cast<std::int32_t>(256 + names_.size());
    }
    [[nodiscard]] std::optional<tokenizer::TokenId> find(std::string_view text) const override {
        for (std::size_t i = 0; i < names_.size(); ++i) {
            if (names_[i] == text) return static_cast<tokenizer::TokenId>(256 + i);
        }
        if (text.size() == 1) return static_cast<unsigned char>(text.front());
        return std::nullopt;
    }
    [[nodiscard]] bool is_special(tokenizer::TokenId id) const override { return id >= 256; }
    [[nodiscard]] std::span<const tokenizer::TokenId> end_tokens() const override { return ends_; }
    [[nodiscard]] const tokenizer::SpecialTokens& special() const override { return special_; }
    [[nodiscard]] std::string_view pre_tokenizer() const override { return "bytes"; }

    /// Special tokens in square brackets, so that they differ from their own text.
    [[nodiscard]] std::string show(std::span<const tokenizer::TokenId> tokens) const {
        std::string text;
        for (const tokenizer::TokenId id : tokens) {
            if (is_special(id)) text += '[';
            text += token_bytes(id);
            if (is_special(id)) text += ']';
        }
        return text;
    }
    [[nodiscard]] std::uint64_t bytes_encoded() const { return bytes_encoded_.load(); }

  private:
    std::vector<std::string> names_;
    std::vector<std::string> bytes_;
    std::vector<tokenizer::TokenId> ends_;
    tokenizer::SpecialTokens special_;
    mutable std::atomic<std::uint64_t> bytes_encoded_{0};
};

/// What the fake engine answers to one request.
struct FakeAnswer {
    std::string text;
    float probability = 0.9F;
    bool holds = false;  ///< after the text nothing comes until the request is cancelled
    engine::FinishReason reason = engine::FinishReason::stop_token;
    std::optional<Error> error = std::nullopt;
    bool is_short = false;                              ///< the short prompt was taken
    std::vector<tokenizer::TokenId> tokens_after = {};  ///< special ones, after the text
    std::map<std::size_t, engine::Rival> rivals = {};   ///< by token: what else was likely there
    /// What is asked about a prompt: the logarithm of the probability of `next` behind `before`.
    /// None: nothing is told.
    std::function<double(std::span<const tokenizer::TokenId> before, tokenizer::TokenId next)>
        judge = {};
};

/// One thread per request. Cancels are seen between two tokens.
class FakeEngine final : public engine::Engine {
  public:
    using Script = std::function<FakeAnswer(const engine::Request&)>;
    explicit FakeEngine(Script script) : script_(std::move(script)) {}
    ~FakeEngine() override {
        {
            const LockGuard lock(mutex_);
            is_closing_ = true;
        }
        changed_.notify_all();
        for (std::thread& thread : threads_) {
            thread.join();
        }
    }

    Result<engine::Ticket> submit(engine::Request request) override {
        const LockGuard lock(mutex_);
        if (is_full_) return fail(ErrorCode::unavailable, "the engine's queue is full", "fake");
        if (std::cmp_greater(request.stable_tokens, request.prompt.size())) {
            return fail(ErrorCode::invalid_argument, "more stable tokens than tokens", "fake");
        }
        const engine::Ticket ticket = {++last_id_};
        requests_.push_back(request);
        threads_.emplace_back(
            [this, ticket, request = std::move(request)] { play(ticket, request); });
        return ticket;
    }
    void cancel(engine::Ticket ticket) override {
        {
            const LockGuard lock(mutex_);
            cancelled_[ticket.id] = true;
        }
        changed_.notify_all();
    }
    [[nodiscard]] engine::EngineStatus status() const override { return {}; }
    [[nodiscard]] const engine::EngineLimits& limits() const override { return limits_; }

    void set_full(bool is_full) {
        const LockGuard lock(mutex_);
        is_full_ = is_full;
    }
    /// A copy of what was asked so far.
    [[nodiscard]] std::vector<engine::Request> requests() const {
        const LockGuard lock(mutex_);
        return requests_;
    }
    [[nodiscard]] bool is_cancelled(std::uint64_t id) const {
        const LockGuard lock(mutex_);
        return cancelled_.contains(id);
    }
    engine::EngineLimits limits_;

  private:
    void play(engine::Ticket ticket, const engine::Request& request) {
        const FakeAnswer answer = script_(request);
        if (answer.error) {
            request.sink(engine::FailedEvent{*answer.error});
            return;
        }
        if (!request.asked.empty()) {
            engine::FinishedEvent told{engine::FinishReason::tokens_max, {}};
            for (const engine::Asked& asked : request.asked) {
                if (!answer.judge) break;
                const auto known = static_cast<std::size_t>(asked.row) + 1;
                told.log_probabilities.push_back(
                    answer.judge(std::span(request.prompt).first(known), asked.token));
            }
            request.sink(told);
            return;
        }
        std::vector<tokenizer::TokenId> tokens;
        for (const char byte : answer.text) {
            tokens.push_back(static_cast<unsigned char>(byte));
        }
        tokens.insert(tokens.end(), answer.tokens_after.begin(), answer.tokens_after.end());
        engine::Usage usage;
        usage.prompt_tokens = static_cast<std::int32_t>(request.prompt.size());
        usage.is_short = answer.is_short;
        const auto finish = [&](engine::FinishReason reason) {
            usage.total_ms = 2.0;
            engine::FinishedEvent finished{reason, usage};
            if (reason == engine::FinishReason::stop_token) {
                finished.stop = engine::TokenEvent{request.stop_tokens.front(), answer.probability};
            }
            request.sink(finished);
        };
        for (const tokenizer::TokenId token : tokens) {
            if (wants_end(ticket, request)) return finish(engine::FinishReason::cancelled);
            ++usage.generated_tokens;
            usage.first_token_ms = 1.0;
            engine::TokenEvent event{token, answer.probability};
            const auto at = static_cast<std::size_t>(usage.generated_tokens) - 1;
            const auto rival = answer.rivals.find(at);
            if (request.wants_rivals && rival != answer.rivals.end()) {
                event.rivals.front() = rival->second;
            }
            const auto said = request.sink(event);
            if (said == engine::SinkAnswer::enough) {
                return finish(engine::FinishReason::sink_enough);
            }
            if (usage.generated_tokens == request.tokens_max) {
                return finish(engine::FinishReason::tokens_max);
            }
        }
        if (!answer.holds) return finish(answer.reason);
        while (!wants_end(ticket, request)) {
            const LockGuard lock(mutex_);
            // The request's own token makes no noise: an engine looks at it in every step.
            changed_.wait_until(mutex_,
                                std::chrono::steady_clock::now() + std::chrono::milliseconds(1));
        }
        finish(engine::FinishReason::cancelled);
    }
    bool wants_end(engine::Ticket ticket, const engine::Request& request) {
        const LockGuard lock(mutex_);
        return is_closing_ || request.cancel.is_cancelled() || cancelled_.contains(ticket.id);
    }

    const Script script_;
    mutable Mutex mutex_;
    ConditionVariable changed_;
    bool is_closing_ = false;
    bool is_full_ = false;
    std::uint64_t last_id_ = 0;
    std::map<std::uint64_t, bool> cancelled_;
    std::vector<engine::Request> requests_;
    std::vector<std::thread> threads_;
};

/// Plugins as functions; what is not set answers "unsupported".
class FakePluginHost final : public plugin_host::PluginHost {
  public:
    using Context = std::shared_ptr<plugin_host::JobContext>;
    using Document = plugin_host::DocumentView;

    std::function<plugin_host::CallStatus(const Context&, const Document&)> on_complete;
    std::function<std::vector<plugin_host::Action>(const Document&,
                                                   const plugin_host::SelectionView&)>
        on_list;
    std::function<plugin_host::CallStatus(
        const Context&, const Document&, const plugin_host::Action&)>
        on_run;
    std::vector<std::function<plugin_host::CallStatus(const Context&, const Document&)>> providers;

    [[nodiscard]] std::vector<plugin_host::PluginInfo> plugins() const override { return {}; }
    plugin_host::CallStatus complete(const Context& context, const Document& document) override {
        return on_complete ? on_complete(context, document) : plugin_host::CallStatus::unsupported;
    }
    std::vector<plugin_host::Action> list_actions(const Context& /*context*/,
                                                  const Document& document,
                                                  const plugin_host::SelectionView& selection,
                                                  std::size_t /*room*/) override {
        return on_list ? on_list(document, selection) : std::vector<plugin_host::Action>();
    }
    plugin_host::CallStatus run_action(const Context& context,
                                       const Document& document,
                                       const plugin_host::SelectionView& /*selection*/,
                                       const plugin_host::Action& action) override {
        return on_run ? on_run(context, document, action) : plugin_host::CallStatus::unsupported;
    }
    [[nodiscard]] std::size_t provider_count() const override { return providers.size(); }
    plugin_host::CallStatus gather(std::size_t provider_index,
                                   const Context& context,
                                   const Document& document,
                                   std::uint64_t /*budget_bytes*/) override {
        return providers[provider_index](context, document);
    }
    std::vector<std::string> take_messages() override { return {}; }
};

/// "int a = ^;" -> the text without the mark, and the mark's place.
struct MarkedText {
    explicit MarkedText(std::string marked) : text(std::move(marked)), cursor(text.find('^')) {
        text.erase(cursor, 1);
    }
    [[nodiscard]] std::string_view before() const {
        return std::string_view(text).substr(0, cursor);
    }
    [[nodiscard]] std::string_view after() const { return std::string_view(text).substr(cursor); }

    std::string text;
    std::size_t cursor;
};

}  // namespace hearth::test
