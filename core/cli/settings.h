// The user's settings: one JSON file, every key optional. Read by the daemon and, for the model, by
// the commands that run in process.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/compute/dtype.h"

namespace hearth::cli {

struct Settings {
    std::string model;                ///< path; empty: HEARTH_MODEL, else the default model
    std::string backend;              ///< "cpu", "reference", "cuda"; empty: the best present
    std::int32_t threads = 0;         ///< 0: one per core
    std::int32_t context_tokens = 0;  ///< 0: as many as fit
    std::string kv_cache;             ///< "f16" or "q8_0"; empty: "f16"
    std::string prediction_block;     ///< path, or "none"; empty: see find_prediction_block
    std::optional<double> completion_confidence;  ///< 0 to 1; empty: the product's own
    bool completion_copy = true;
    std::optional<std::int32_t> cold_prompt_ms;  ///< 0: no short prompts; empty: the product's own
    std::optional<std::int32_t> line_search_ms;  ///< 0: the model's first line; empty: as above
    std::optional<std::int32_t> line_judge_ms;   ///< 0: what follows is not asked; empty: as above
    std::optional<double> answer_confidence;
    std::vector<std::string> plugin_folders;  ///< beside the shipped one
    std::map<std::string, std::map<std::string, std::string>>
        plugins;  ///< plugin id -> name -> value
};

/// $HEARTH_SETTINGS, else $XDG_CONFIG_HOME/hearth/settings.json, else
/// ~/.config/hearth/settings.json.
std::string settings_path();

/// The types of cache that can be asked for: "f16", "q8_0".
const std::vector<std::string>& cache_type_names();

/// The type of cache that `option` names, else the settings, else F16.
compute::Dtype find_cache_type(const std::string& option, const Settings& settings);

/// A missing file gives the defaults.
///
/// Errors: corrupt, naming the file and the key that is wrong. Unknown keys are refused by name:
/// they are misspellings.
Result<Settings> load_settings(const std::string& path);

/// Which model file to use: `option`, else HEARTH_MODEL, else `settings.model`, else
/// share/hearth/models/default.gguf beside the programs' folder.
///
/// Errors: not_found, listing where a model can be named.
Result<std::string> find_model(const std::string& option,
                               const Settings& settings,
                               const std::string& program_folder);

/// The file of a block for multi-token prediction beside the model: `option`, else the settings,
/// else mtp.gguf in the model's folder where there is one, as training writes it. Empty: none.
std::string find_prediction_block(const std::string& option,
                                  const Settings& settings,
                                  const std::string& model_path);
/// False where "none" is asked for, so that the model's own file is not looked into either.
bool wants_prediction(const std::string& option, const Settings& settings);

/// Where plugins are looked for: the shipped folder first, then the user's.
std::vector<std::string> plugin_folders(const Settings& settings,
                                        const std::string& program_folder);

}  // namespace hearth::cli
