// Cuts text into the pieces inside which byte pairs are merged. Encoding and the training of a
// vocabulary use this same function. Each kind is a hand-written scanner with exactly the meaning
// of the regular expressions that its models were published with; characters have the classes of
// the generated table in unicode_classes.h.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace hearth::tokenizer {

enum class PreTokenizer {
    /// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
    gpt2,
    /// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*
    /// |\s*[\r\n]+|\s+(?!\S)|\s+
    qwen2,
    /// Five expressions, each cutting the pieces of the one before it into matches and what lies
    /// between: [\r\n] then \s?\p{L}+ then \s?\p{P}+ then [一-龥ࠀ-一가-퟿]+ then \p{N}
    deepseek_coder,
};

/// From the name in `tokenizer.ggml.pre`; empty for a name that is not known.
std::optional<PreTokenizer> parse_pre_tokenizer(std::string_view name);

/// Replaces `pieces` by the pieces of `text`: in order, not empty, and together all of it.
/// Bytes that are no UTF-8 count as one symbol for each maximal broken part.
///
/// Owner: the pieces borrow from `text`.  Thread: any.
void split(std::string_view text, PreTokenizer kind, std::vector<std::string_view>& pieces);

}  // namespace hearth::tokenizer
