#include "core/assist/prompt_format.h"

#include <algorithm>

#include "core/assist/prompt_window.h"

namespace hearth::assist {

using plugin_host::GenerateTask;
using plugin_host::Part;
using plugin_host::PartKind;
using tokenizer::InfillMark;
using tokenizer::TokenId;

/// Collects a prompt; the first failure sticks.
class PromptFormat::Writer {
  public:
    explicit Writer(const tokenizer::Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

    Writer& special(std::optional<TokenId> id) {
        if (id) tokens_.push_back(*id);
        return *this;
    }
    Writer& tokens(std::span<const TokenId> ids) {
        tokens_.insert(tokens_.end(), ids.begin(), ids.end());
        return *this;
    }
    Writer& text(std::string_view text) {
        if (text.empty() || error_) return *this;
        auto ids = tokenizer_.encode(text);
        if (!ids) {
            error_ = std::move(ids).error();
            return *this;
        }
        return tokens(*ids);
    }
    Result<Tokens> finish() {
        if (error_) return fail(*std::move(error_));
        return std::move(tokens_);
    }

  private:
    const tokenizer::Tokenizer& tokenizer_;
    Tokens tokens_;
    std::optional<Error> error_;
};

namespace {

constexpr std::string_view kExplainRequest =
    "Explain what this code does in a few plain sentences.";
constexpr std::string_view kFixRequest =
    "Correct the marked line. Answer with the corrected line alone, in one code block.";

std::string with_newline(std::string_view text) {
    std::string line(text);
    if (!line.empty() && line.back() != '\n') line += '\n';
    return line;
}

/// How many of the tokens stand before the last line.
std::size_t line_begin(const tokenizer::Tokenizer& tokenizer, std::span<const TokenId> tokens) {
    std::size_t count = tokens.size();
    while (count > 0 && !tokenizer.token_bytes(tokens[count - 1]).ends_with('\n')) {
        --count;
    }
    return count;
}

std::string joined(std::span<const Part> parts, PartKind kind) {
    std::string text;
    for (const Part& part : parts) {
        if (part.kind == kind) text += with_newline(part.text);
    }
    return text;
}

std::string_view path_of(std::span<const Part> parts) {
    for (const Part& part : parts) {
        if (!part.path.empty()) return part.path;
    }
    return {};
}

/// Code as the prompt shows it: all before the marked line, and the marked line with what follows,
/// which the model saw as one text.
struct ShownCode {
    Tokens before, marked_and_after;
};

/// Cuts the code parts to `tokens_max`: without a marked line from the end, else what is farthest
/// from it.
Result<ShownCode> cut_code(const tokenizer::Tokenizer& tokenizer,
                           std::span<const Part> parts,
                           std::int32_t tokens_max) {
    std::string before;
    std::string marked;
    std::string after;
    for (const Part& part : parts) {
        if (part.kind == PartKind::marked_line) marked += with_newline(part.text);
        if (part.kind == PartKind::code) {
            (marked.empty() ? before : after) += with_newline(part.text);
        }
    }
    ShownCode code;
    if (marked.empty()) {
        HEARTH_TRY(code.before, encode_head(tokenizer, before, tokens_max));
        return code;
    }
    HEARTH_TRY(const Tokens alone, tokenizer.encode(marked));
    const auto marked_count = static_cast<std::int32_t>(alone.size());
    const std::int32_t room = tokens_max - marked_count;
    if (room < 0) {
        return fail(ErrorCode::too_large,
                    "the marked line has " + std::to_string(marked_count) +
                        " tokens and the prompt has room for " + std::to_string(tokens_max) +
                        "; mark less",
                    "assist");
    }
    HEARTH_TRY(code.marked_and_after,
               encode_head(tokenizer, marked + after, marked_count + room / 3));
    const auto used = static_cast<std::int32_t>(code.marked_and_after.size());
    HEARTH_TRY(code.before, encode_tail(tokenizer, before, tokens_max - used));
    return code;
}

}  // namespace

PromptFormat::PromptFormat(const tokenizer::Tokenizer& tokenizer)
    : tokenizer_(tokenizer),
      special_(tokenizer.special()),
      explain_(tokenizer.find("<|explain|>")),
      fix_(tokenizer.find("<|fix|>")),
      bug_(tokenizer.find("<|bug|>")) {
    if (special_.infill_mark != InfillMark::cursor) healing_.emplace(tokenizer);
    const auto choose = [&](Chat chat, std::string_view begin, std::string_view end) {
        if (chat_ != Chat::none) return;
        turn_begin_ = tokenizer.find(begin);
        turn_end_ = tokenizer.find(end);
        if (turn_begin_ && turn_end_) chat_ = chat;
    };
    if (explain_ && fix_ && bug_ && special_.fim_middle) chat_ = Chat::own;
    choose(Chat::chat_ml, "<|im_start|>", "<|im_end|>");
    choose(Chat::deepseek_tokens, "<｜User｜>", "<｜Assistant｜>");
    if (chat_ == Chat::none && tokenizer.find("<｜fim▁begin｜>")) {
        chat_ = Chat::deepseek_text;
        stop_strings_ = {"\n\nUser:"};
    }
}

bool PromptFormat::can_infill() const {
    return special_.fim_prefix && special_.fim_suffix && special_.fim_middle;
}

bool PromptFormat::goes_on_as_text() const {
    return chat_ == Chat::own && special_.infill_mark == InfillMark::none;
}

bool PromptFormat::can(GenerateTask task) const {
    return chat_ != Chat::none && (chat_ != Chat::own || task != GenerateTask::chat);
}

void PromptFormat::write_context(Writer& out, const InfillParts& parts) const {
    if (special_.repo_name && special_.file_sep) {
        // Qwen's repository format ends the name with a newline; the others have none.
        const std::string repository =
            std::string(parts.repository) + (chat_ == Chat::chat_ml ? "\n" : "");
        if (!parts.context.empty()) out.special(special_.repo_name).text(repository);
        for (const Tokens& piece : parts.context) {
            out.special(special_.file_sep).tokens(piece);
        }
        if (chat_ == Chat::own || !parts.context.empty()) {
            out.special(special_.file_sep).text(std::string(parts.path) + "\n");
        }
        return;
    }
    for (const Tokens& piece : parts.context) {
        out.tokens(piece).text("\n");
    }
}

Result<Tokens> PromptFormat::infill(const InfillParts& parts) const {
    HEARTH_ASSERT(can_infill());
    Writer out(tokenizer_);
    if (special_.adds_begin_of_text) out.special(special_.begin_of_text);
    write_context(out, parts);
    if (chat_ != Chat::own) {
        out.special(special_.fim_prefix).tokens(parts.prefix);
        out.special(special_.fim_suffix).tokens(parts.suffix);
        return out.special(special_.fim_middle).finish();
    }
    const std::size_t line = special_.infill_mark == InfillMark::line
                                 ? line_begin(tokenizer_, parts.prefix)
                                 : parts.prefix.size();
    out.special(special_.fim_suffix).tokens(parts.suffix);
    out.special(special_.fim_prefix).tokens(parts.prefix.first(line));
    if (special_.infill_mark != InfillMark::none) out.special(special_.fim_middle);
    return out.tokens(parts.prefix.subspan(line)).finish();
}

std::size_t PromptFormat::shifted_tokens(const InfillParts& parts) const {
    const std::size_t marks = 2;  // before the suffix and behind it
    return chat_ == Chat::own ? 0 : parts.suffix.size() + marks;
}

void PromptFormat::open_turn(Writer& out) const {
    if (chat_ == Chat::chat_ml) out.special(turn_begin_).text("user\n");
    if (chat_ == Chat::deepseek_tokens) out.special(turn_begin_);
    if (chat_ == Chat::deepseek_text) out.text("User: ");
}

void PromptFormat::close_turn(Writer& out) const {
    if (chat_ == Chat::chat_ml) {
        out.special(turn_end_).text("\n").special(turn_begin_).text("assistant\n");
    }
    if (chat_ == Chat::deepseek_tokens) out.special(turn_end_);
    if (chat_ == Chat::deepseek_text) out.text("\n\nAssistant:");
}

Result<Tokens> PromptFormat::generate(GenerateTask task,
                                      std::span<const Part> parts,
                                      std::int32_t tokens_max) const {
    HEARTH_ASSERT(can(task));
    Writer head(tokenizer_);
    Writer tail(tokenizer_);
    Writer bug(tokenizer_);
    if (special_.adds_begin_of_text) head.special(special_.begin_of_text);
    const std::string path(path_of(parts));
    if (chat_ == Chat::own) {
        head.special(task == GenerateTask::fix ? fix_ : explain_).text(path + "\n");
        bug.special(bug_);
        tail.special(special_.fim_middle);
    } else {
        open_turn(head);
        std::string request = joined(parts, PartKind::instruction);
        if (request.empty() && task == GenerateTask::explain) request = kExplainRequest;
        if (task == GenerateTask::fix) request += kFixRequest;
        head.text(with_newline(request) + joined(parts, PartKind::diagnostic));
        const bool has_code = std::ranges::any_of(parts, [](const Part& part) {
            return part.kind == PartKind::code || part.kind == PartKind::marked_line;
        });
        if (has_code) {
            head.text("\n" + with_newline(path) + "```\n");
            tail.text("```\n");
        }
        if (task == GenerateTask::fix)
            tail.text("The marked line:\n" + joined(parts, PartKind::marked_line));
        close_turn(tail);
    }
    HEARTH_TRY(Tokens prompt, head.finish());
    HEARTH_TRY(const Tokens mark, bug.finish());
    HEARTH_TRY(const Tokens end, tail.finish());
    const std::size_t fixed = prompt.size() + mark.size() + end.size();
    const std::int32_t room = tokens_max - static_cast<std::int32_t>(fixed);
    if (room < 0) {
        return fail(ErrorCode::too_large,
                    "the request's own words have " + std::to_string(fixed) +
                        " tokens and the prompt has room for " + std::to_string(tokens_max) +
                        "; ask for less",
                    "assist");
    }
    HEARTH_TRY(const ShownCode code, cut_code(tokenizer_, parts, room));
    Writer all(tokenizer_);
    all.tokens(prompt).tokens(code.before);
    if (!code.marked_and_after.empty()) all.tokens(mark);
    return all.tokens(code.marked_and_after).tokens(end).finish();
}

}  // namespace hearth::assist
