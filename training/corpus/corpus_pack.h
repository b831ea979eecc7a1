// Reads corpus.pack, the text that build_corpus.py selected: one record per file, a head line of
// five fields with tabs between (split, language, package, path, bytes), the bytes, a line end.
#pragma once

#include <string>
#include <vector>

#include "core/base/result.h"

namespace hearth::training {

struct CorpusFile {
    std::string language;
    std::string package;
    std::string path;
    std::string text;
    bool is_heldout = false;
};

/// Errors: not_found, io; corrupt (record number named).
Result<std::vector<CorpusFile>> load_corpus_pack(const std::string& path);

/// The same from bytes in memory.
Result<std::vector<CorpusFile>> parse_corpus_pack(std::string_view bytes);

}  // namespace hearth::training
