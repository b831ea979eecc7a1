// Which tokens of a vocabulary play which role: from the file's metadata, else by the names that
// model families use. Private to core/tokenizer.
#pragma once

#include <vector>

#include "core/formats/gguf.h"
#include "core/tokenizer/tokenizer.h"
#include "core/tokenizer/vocabulary.h"

namespace hearth::tokenizer {

struct Roles {
    SpecialTokens special;
    std::vector<TokenId> end_tokens;  ///< each once
};

/// An id in the metadata that is outside the vocabulary counts as absent: files write -1 for
/// "none".
Roles find_roles(const formats::GgufFile& file, const Vocabulary& vocabulary);

}  // namespace hearth::tokenizer
