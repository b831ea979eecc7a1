// Functions and the first sentence of their documentation, found by rules that look alike in all
// languages: a comment, then a head, then a body.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "training/corpus/corpus_pack.h"

namespace hearth::training {

struct ExplainPair {
    std::string code;      ///< the function without the comment
    std::string sentence;  ///< ends with a full stop
};

/// The documented functions of one file.
std::vector<ExplainPair> find_explain_pairs(const CorpusFile& file);

/// The first sentence of a comment whose marks are still in it, without mark-up; empty if it does
/// not look like an explanation.
std::string first_sentence(std::string_view comment);

}  // namespace hearth::training
