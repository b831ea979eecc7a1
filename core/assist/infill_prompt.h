// The prompt of one completion: what is left and right of the cursor and in other files, within one
// token budget. The shares depend on nothing that typing changes, so the cached prefix holds.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "core/assist/prompt_format.h"
#include "core/engine/request.h"

namespace hearth::assist {

/// A piece of another file.
struct ContextPiece {
    std::string path;
    std::string text;
};

struct InfillSource {
    std::string_view repository;
    std::string_view path;
    std::string_view before;                ///< the cursor: everything; cut to the budget here
    std::string_view after;                 ///< the cursor, from the rest of its line on
    std::span<const ContextPiece> context;  ///< best first
};

struct InfillPrompt {
    Tokens tokens;
    std::int32_t stable_tokens = 0;  ///< of them, at the head: the next key leaves them as they are
    /// The end of the text before the cursor, where the model writes it anew: see TokenHealing.
    std::string healed = {};
};

/// At most `tokens_max` tokens: up to a quarter for other files, up to a quarter for what follows
/// the cursor, the rest for what stands before it.
///
/// Errors: those of Tokenizer::encode; too_large when the budget cannot hold a prompt at all.
Result<InfillPrompt> make_infill_prompt(const tokenizer::Tokenizer& tokenizer,
                                        const PromptFormat& format,
                                        const InfillSource& source,
                                        std::int32_t tokens_max);

/// Appends tokens that the model said, or could have said, to a prompt. Returns what is left of
/// `healed` for the model to write anew.
std::string_view append_said(Tokens& prompt,
                             std::string_view healed,
                             std::span<const engine::TokenEvent> said,
                             const tokenizer::Tokenizer& tokenizer);

}  // namespace hearth::assist
