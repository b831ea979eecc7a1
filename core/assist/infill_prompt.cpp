#include "core/assist/infill_prompt.h"

#include <algorithm>

#include "core/assist/prompt_window.h"

namespace hearth::assist {
namespace {

// Less than this before the cursor and the model is guessing.
constexpr std::int32_t kPrefixTokensMin = 16;
// A piece cut to less says nothing.
constexpr std::int32_t kPieceTokensMin = 16;

struct Piece {
    const ContextPiece* source;
    Tokens tokens;
};

/// Rank decides who is in, the path decides the order: ranks change with every glance at another
/// file, and each change would cost the cached prefix from there on.
Result<std::vector<Tokens>> encode_context(const tokenizer::Tokenizer& tokenizer,
                                           std::span<const ContextPiece> context,
                                           std::int32_t tokens_max) {
    std::vector<Piece> pieces;
    std::int32_t room = tokens_max;
    for (const ContextPiece& piece : context) {
        if (room < kPieceTokensMin) break;
        std::string text = without_carriage_returns(piece.text);
        if (!text.ends_with('\n')) text += '\n';
        // Path line and text are encoded apart, as in training; one token is the separator.
        HEARTH_TRY(Tokens tokens, tokenizer.encode(piece.path + "\n"));
        room -= static_cast<std::int32_t>(tokens.size()) + 1;
        if (room < kPieceTokensMin) break;
        HEARTH_TRY(const Tokens shown, encode_head(tokenizer, text, room));
        room -= static_cast<std::int32_t>(shown.size());
        tokens.insert(tokens.end(), shown.begin(), shown.end());
        pieces.push_back({&piece, std::move(tokens)});
    }
    std::ranges::stable_sort(
        pieces, {}, [](const Piece& piece) -> const std::string& { return piece.source->path; });
    std::vector<Tokens> ordered;
    ordered.reserve(pieces.size());
    for (Piece& piece : pieces) {
        ordered.push_back(std::move(piece.tokens));
    }
    return ordered;
}

/// A model is made on \n. The copy is made only where there is a \r.
class PlainLines {
  public:
    explicit PlainLines(std::string_view text) : text_(text) {
        if (text.find('\r') == std::string_view::npos) return;
        copy_ = without_carriage_returns(text);
        text_ = copy_;
    }
    PlainLines(const PlainLines&) = delete;
    PlainLines& operator=(const PlainLines&) = delete;
    [[nodiscard]] std::string_view text() const { return text_; }

  private:
    std::string copy_;
    std::string_view text_;
};

}  // namespace

Result<InfillPrompt> make_infill_prompt(const tokenizer::Tokenizer& tokenizer,
                                        const PromptFormat& format,
                                        const InfillSource& source,
                                        std::int32_t tokens_max) {
    HEARTH_TRY(const std::vector<Tokens> context,
               encode_context(tokenizer, source.context, tokens_max / 4));
    InfillParts parts = {.repository = source.repository,
                         .path = source.path,
                         .context = context,
                         .suffix = {},
                         .prefix = {}};
    HEARTH_TRY(const Tokens frame, format.infill(parts));

    const PlainLines after(source.after);
    HEARTH_TRY(const Tokens suffix, encode_head(tokenizer, after.text(), tokens_max / 4));
    const std::size_t used = frame.size() + suffix.size();
    const std::int32_t room = tokens_max - static_cast<std::int32_t>(used);
    if (room < kPrefixTokensMin) {
        return fail(ErrorCode::too_large,
                    "a prompt of at most " + std::to_string(tokens_max) +
                        " tokens leaves no room for the text before the cursor; raise the limit",
                    "assist");
    }
    const PlainLines before(source.before);
    HEARTH_TRY(Tokens prefix, encode_tail(tokenizer, before.text(), room));
    InfillPrompt prompt;
    if (format.healing() != nullptr) prompt.healed = format.healing()->cut(prefix);
    parts.suffix = suffix;
    parts.prefix = prefix;
    HEARTH_TRY(prompt.tokens, format.infill(parts));
    prompt.stable_tokens =
        static_cast<std::int32_t>(prompt.tokens.size() - format.shifted_tokens(parts));
    return prompt;
}

std::string_view append_said(Tokens& prompt,
                             std::string_view healed,
                             std::span<const engine::TokenEvent> said,
                             const tokenizer::Tokenizer& tokenizer) {
    for (const engine::TokenEvent& event : said) {
        prompt.push_back(event.token);
        const std::size_t bytes = tokenizer.token_bytes(event.token).size();
        healed.remove_prefix(std::min(bytes, healed.size()));
    }
    return healed;
}

}  // namespace hearth::assist
