// Evaluation cases from held-out files, as JSON lines that `hearth eval` and the trainer read.
#pragma once

#include <iosfwd>
#include <string_view>
#include <vector>

#include "training/corpus/corpus_pack.h"
#include "training/samples/random.h"

namespace hearth::training {

/// Of a held-out file, by its path alone: "tuning" (the product's constants are chosen on its
/// cases) or "report" (what is said of the product is measured on them). Its cases name it as
/// "split".
std::string_view split_of(const CorpusFile& file);

/// {"language", "path", "split", "kind", "prefix", "suffix", "target"}; the kinds are "whole_line",
/// "line_tail", "argument_list" (what is in the brackets of a call) and "block" (two to five
/// lines). They start in lines of 10 to 100 characters that are no comments. `count` of each kind
/// from these files of one language (fewer if they do not hold as many).
void write_line_cases(const std::vector<const CorpusFile*>& files,
                      std::size_t count,
                      Random& random,
                      std::ostream& stream);

/// {"language", "path", "split", "code", "sentence"}; those of training files have no split.
void write_explain_cases(const std::vector<const CorpusFile*>& files,
                         std::size_t count,
                         Random& random,
                         std::ostream& stream);

/// {"language", "path", "split", "kind": mutation, "before", "bad_line", "after", "target"}: about
/// `count` with a bug, of all mutations alike, and as many without.
void write_fix_cases(const std::vector<const CorpusFile*>& files,
                     std::size_t count,
                     Random& random,
                     std::ostream& stream);

}  // namespace hearth::training
