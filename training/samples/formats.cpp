#include "training/samples/formats.h"

#include <algorithm>
#include <string>

namespace hearth::training {
namespace {

void append(Tokens& tokens, const Tokens& more) {
    tokens.insert(tokens.end(), more.begin(), more.end());
}

}  // namespace

Result<SampleFormats> SampleFormats::make(Encoder& encoder) {
    SampleFormats formats(encoder);
    const std::pair<std::string_view, TokenId*> roles[] = {
        {"<|endoftext|>", &formats.end_of_text_},
        {"<|fim_prefix|>", &formats.fim_prefix_},
        {"<|fim_middle|>", &formats.fim_middle_},
        {"<|fim_suffix|>", &formats.fim_suffix_},
        {"<|fim_pad|>", &formats.fim_pad_},
        {"<|repo_name|>", &formats.repo_name_},
        {"<|file_sep|>", &formats.file_sep_},
        {"<|explain|>", &formats.explain_},
        {"<|fix|>", &formats.fix_},
        {"<|bug|>", &formats.bug_},
    };
    for (const auto& [name, id] : roles) {
        const std::optional<TokenId> found = encoder.file().find_special(name);
        if (!found) {
            return fail(ErrorCode::not_found,
                        "the tokenizer has no token " + std::string(name) +
                            "; make it with hearth-train-tokenizer",
                        "samples");
        }
        *id = *found;
    }
    return formats;
}

Tokens SampleFormats::path_line(std::string_view path) {
    Tokens tokens = {file_sep_};
    encoder_->encode(std::string(path) + "\n", tokens);
    return tokens;
}

Tokens SampleFormats::repository_name(std::string_view name) {
    Tokens tokens = {repo_name_};
    encoder_->encode(name, tokens);
    return tokens;
}

Tokens SampleFormats::neighbour(std::string_view path, std::string_view snippet) {
    Tokens tokens = path_line(path);
    encoder_->encode(snippet, tokens);
    return tokens;
}

Tokens SampleFormats::infill(const Tokens& head,
                             const InfillParts& parts,
                             InfillOrder order,
                             std::size_t tokens_max) {
    const bool is_prefix_first = order == InfillOrder::prefix_first;
    // Of a prefix of one line: npos + 1, which is 0.
    const std::size_t line = is_prefix_first ? parts.prefix.size() : parts.prefix.rfind('\n') + 1;
    Tokens prefix = encoder_->encode(parts.prefix.substr(0, line));
    Tokens suffix = encoder_->encode(parts.suffix);
    const Tokens middle = encoder_->encode(std::string(parts.prefix.substr(line)) += parts.middle);
    const bool is_marked = order != InfillOrder::suffix_first_unmarked;
    const std::size_t fixed = head.size() + middle.size() + (is_marked ? 4 : 3);
    if (fixed > tokens_max) return {};
    const std::size_t room = tokens_max - fixed;
    if (prefix.size() + suffix.size() > room) {
        suffix.resize(room > prefix.size() ? room - prefix.size() : 0);
    }
    if (prefix.size() > room) {
        prefix.erase(prefix.begin(), prefix.end() - static_cast<std::ptrdiff_t>(room));
    }
    Tokens tokens = head;
    if (is_prefix_first) {
        tokens.push_back(fim_prefix_);
        append(tokens, prefix);
        tokens.push_back(fim_suffix_);
        append(tokens, suffix);
    } else {
        tokens.push_back(fim_suffix_);
        append(tokens, suffix);
        tokens.push_back(fim_prefix_);
        append(tokens, prefix);
    }
    if (is_marked) tokens.push_back(fim_middle_);
    append(tokens, middle);
    tokens.push_back(end_of_text_);
    return tokens;
}

Tokens SampleFormats::continuation(const Tokens& head,
                                   std::string_view text,
                                   bool is_file_end,
                                   std::size_t tokens_max) {
    Tokens tokens = head;
    encoder_->encode(text, tokens);
    if (is_file_end) tokens.push_back(end_of_text_);
    tokens.resize(std::min(tokens.size(), tokens_max));
    return tokens;
}

Tokens SampleFormats::explain(std::string_view path,
                              std::string_view code,
                              std::string_view sentence,
                              std::size_t tokens_max) {
    Tokens tokens = {explain_};
    encoder_->encode(std::string(path) + "\n", tokens);
    encoder_->encode(code, tokens);
    const Tokens answer = encoder_->encode(sentence);
    if (answer.size() + 2 > tokens_max) return {};
    tokens.resize(std::min(tokens.size(), tokens_max - answer.size() - 2));
    tokens.push_back(fim_middle_);
    append(tokens, answer);
    tokens.push_back(end_of_text_);
    return tokens;
}

Tokens SampleFormats::fix(const FixParts& parts, std::size_t tokens_max) {
    Tokens tokens = {fix_};
    encoder_->encode(std::string(parts.path) + "\n", tokens);
    encoder_->encode(parts.before, tokens);
    tokens.push_back(bug_);
    encoder_->encode(std::string(parts.bad_line) + "\n" + std::string(parts.after), tokens);
    tokens.push_back(fim_middle_);
    encoder_->encode(parts.good_line, tokens);
    tokens.push_back(end_of_text_);
    if (tokens.size() > tokens_max) tokens.clear();
    return tokens;
}

}  // namespace hearth::training
