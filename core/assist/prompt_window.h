// Which part of a document a prompt shows. Windows are cut at anchors that do not move while the
// user types: a window that slid with each key would never match the cached prefix. A document is
// never encoded as a whole; a few bytes per token of budget are looked at.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/assist/prompt_format.h"

namespace hearth::assist {

/// The text up to its end, at most `tokens_max` tokens of it. Where the head does not fit, the
/// window begins at the first line that starts behind a multiple of about `tokens_max` bytes, so
/// that it moves once in many lines.
///
/// Errors: those of Tokenizer::encode.
Result<Tokens> encode_tail(const tokenizer::Tokenizer& tokenizer,
                           std::string_view text,
                           std::int32_t tokens_max);

/// The text from its start, at most `tokens_max` tokens of it; where it is cut, whole lines if
/// there are any.
///
/// Errors: those of Tokenizer::encode.
Result<Tokens> encode_head(const tokenizer::Tokenizer& tokenizer,
                           std::string_view text,
                           std::int32_t tokens_max);

/// `text` with \r\n as \n: models are made on \n.
std::string without_carriage_returns(std::string_view text);

/// The nearest start of a character at or before `at`.
std::uint64_t character_start(std::string_view text, std::uint64_t at);

/// The nearest start of a character at or after `at`.
std::uint64_t next_character_start(std::string_view text, std::uint64_t at);

}  // namespace hearth::assist
