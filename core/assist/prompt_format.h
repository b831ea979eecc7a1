// PromptFormat: how one model wants to be asked. The one place that writes special tokens: they go
// in by id, and text from documents, parts and paths is encoded as ordinary text, so that nothing
// in a document can speak with the model's own voice. Knows no budget and no document.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/assist/token_healing.h"
#include "core/base/result.h"
#include "core/plugin_host/plugin_host.h"
#include "core/tokenizer/tokenizer.h"

namespace hearth::assist {

using Tokens = std::vector<tokenizer::TokenId>;

/// The parts of a fill-in-the-middle prompt, cut to their budgets already.
struct InfillParts {
    std::string_view repository;      ///< the project's name
    std::string_view path;            ///< of the document
    std::span<const Tokens> context;  ///< pieces of other files, each headed by its path line
    std::span<const std::int32_t> suffix;
    std::span<const std::int32_t> prefix;
};

/// Thread: any; fixed after construction. The tokenizer outlives it.
class PromptFormat {
  public:
    /// Told apart by the special tokens of the vocabulary:
    ///   hearth's own   <|explain|>, <|fix|>, <|bug|>: suffix first, so that typing appends
    ///   Qwen coder     <|fim_prefix|>, <|im_start|>: prefix first, ChatML
    ///   StarCoder      <fim_prefix>; CodeLlama <PRE>: prefix first, no conversation
    ///   DeepSeek       <fim_begin>, <fim_hole>, <fim_end> in its own brackets: prefix first
    explicit PromptFormat(const tokenizer::Tokenizer& tokenizer);

    [[nodiscard]] bool can_infill() const;
    [[nodiscard]] bool can(plugin_host::GenerateTask task) const;
    /// Whether an infill prompt goes on as the document does, so that lines can be judged by what
    /// follows them (line_judge.h).
    [[nodiscard]] bool goes_on_as_text() const;

    /// Null for models with the mark at the cursor: they have learnt from texts that were cut at
    /// any character.
    [[nodiscard]] const TokenHealing* healing() const { return healing_ ? &*healing_ : nullptr; }

    /// Stable text first: context, then suffix and prefix in the model's order.
    ///
    /// Errors: those of Tokenizer::encode. Calls where can_infill() is false are a mistake of ours.
    [[nodiscard]] Result<Tokens> infill(const InfillParts& parts) const;
    /// How many tokens at the end of infill(parts) typing shifts: none where the prefix is last.
    [[nodiscard]] std::size_t shifted_tokens(const InfillParts& parts) const;

    /// Renders `parts` in order; code that does not fit is left away, farthest from the marked line
    /// first (from the end of the code where no line is marked).
    ///
    /// Errors: those of Tokenizer::encode; too_large when instruction and marked line alone do not
    /// fit in `tokens_max`.
    [[nodiscard]] Result<Tokens> generate(plugin_host::GenerateTask task,
                                          std::span<const plugin_host::Part> parts,
                                          std::int32_t tokens_max) const;

    /// Text that ends an answer of generate() where the model's turn ends in plain text.
    [[nodiscard]] std::span<const std::string> stop_strings() const { return stop_strings_; }
    /// True: answers to explain and fix are what was asked for and nothing else. False: a chat
    /// model, which may wrap code in fences.
    [[nodiscard]] bool is_own() const { return chat_ == Chat::own; }

  private:
    enum class Chat { none, own, chat_ml, deepseek_tokens, deepseek_text };
    class Writer;

    void write_context(Writer& out, const InfillParts& parts) const;
    void open_turn(Writer& out) const;
    void close_turn(Writer& out) const;

    const tokenizer::Tokenizer& tokenizer_;
    const tokenizer::SpecialTokens special_;
    std::optional<tokenizer::TokenId> explain_, fix_, bug_, turn_begin_, turn_end_;
    std::optional<TokenHealing> healing_;
    Chat chat_ = Chat::none;
    std::vector<std::string> stop_strings_;
};

}  // namespace hearth::assist
