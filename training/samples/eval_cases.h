// Evaluation cases from held-out files, as JSON lines that `hearth eval` and the trainer read.
#pragma once

#include <iosfwd>
#include <vector>

#include "training/corpus/corpus_pack.h"
#include "training/samples/random.h"

namespace hearth::training {

/// {"language", "path", "kind", "prefix", "suffix", "target"}; the kinds are "whole_line",
/// "line_tail", "argument_list" (what is in the brackets of a call) and "block" (two to five
/// lines). They start in lines of 10 to 100 characters that are no comments. `count` of each kind
/// from these files of one language (fewer if they do not hold as many).
void write_line_cases(const std::vector<const CorpusFile*>& files,
                      std::size_t count,
                      Random& random,
                      std::ostream& stream);

/// {"language", "path", "code", "sentence"}
void write_explain_cases(const std::vector<const CorpusFile*>& files,
                         std::size_t count,
                         Random& random,
                         std::ostream& stream);

/// {"language", "path", "kind": mutation, "before", "bad_line", "after", "target"}: one in ten has
/// no bug, the mutations share the rest evenly.
void write_fix_cases(const std::vector<const CorpusFile*>& files,
                     std::size_t count,
                     Random& random,
                     std::ostream& stream);

}  // namespace hearth::training
