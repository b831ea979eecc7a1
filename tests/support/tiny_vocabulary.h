// The vocabulary of the tiny models: 256 bytes, a few merges that code is full of, and special
// tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/formats/gguf_writer.h"

namespace hearth::test {

struct TinyVocabulary {
    std::vector<std::string> tokens;  ///< as the file has them: bytes as GPT-2's letters
    std::vector<std::string> merges;
    std::vector<std::int32_t> types;  ///< 1 ordinary, 3 control
    std::vector<bool> is_printable;   ///< text that an editor could show: ASCII and line feed
};

TinyVocabulary make_tiny_vocabulary();

/// Writes the tokenizer's metadata, roles of the special tokens included.
void add_tokenizer(formats::GgufWriter& writer,
                   const TinyVocabulary& vocabulary,
                   const std::string& pre_tokenizer);

}  // namespace hearth::test
