// Byte-level vocabularies write each byte of a token as one printable character, so that a token is
// always valid text: "Ġthe" is " the".
#pragma once

#include <string>
#include <string_view>

namespace hearth::tokenizer {

/// The text that a vocabulary file has for `bytes`.
///
/// Source: the byte-to-character table of GPT-2: printable Latin-1 stands for itself, the other 68
/// bytes for U+0100 onwards in their order.
std::string to_byte_text(std::string_view bytes);

/// The inverse. A text with a character outside the table stands for itself and comes back as it
/// is.
std::string from_byte_text(std::string_view text);

}  // namespace hearth::tokenizer
