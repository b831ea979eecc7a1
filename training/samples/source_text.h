// What the sample makers need to know about source text beside its words.
#pragma once

#include <string_view>

#include "core/assist/code_words.h"

namespace hearth::training {

using assist::code_identifiers_of;
using assist::identifiers_of;
using assist::is_comment_line;
using assist::is_identifier_letter;
using assist::is_keyword;
using assist::lines_of;
using assist::matching_bracket;
using assist::part;
using assist::Span;

std::string_view trimmed(std::string_view text);
/// The number of blanks at the start of the line.
std::size_t indentation(std::string_view line);
/// One of the eight languages that are held out, evaluated, explained and fixed.
bool is_code_language(std::string_view language);

/// `position` or the next one after it where a UTF-8 character starts.
std::size_t to_character_start(std::string_view text, std::size_t position);

}  // namespace hearth::training
