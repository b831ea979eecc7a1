// The reference logits in shared/data/logits beside the repository: five tiny models and what an
// independent engine computes from their weights. Tests that use them skip visibly without them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/compute/backend.h"
#include "core/model/model.h"

namespace hearth::test {

/// The model files' names without ".gguf".
const std::vector<std::string>& logits_models();

/// True when `source_dir` (HEARTH_SOURCE_DIR) has the data beside it; else says so on stderr.
bool has_logits_reference(const std::string& source_dir);

/// Throws std::runtime_error where it cannot be loaded.
std::shared_ptr<const model::Model> logits_model(const std::string& source_dir,
                                                 const std::string& model_name);

/// Runs the reference prompt in one step and gives the relative L2 of each row of logits. Throws
/// std::runtime_error where the model cannot be loaded or run.
std::vector<double> distances_to_reference(const std::string& source_dir,
                                           const std::string& model_name,
                                           compute::Backend& backend);

}  // namespace hearth::test
