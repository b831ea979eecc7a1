// The options --model, --synthetic, --backend, --threads, --exact, --kv-cache and
// --prediction-block that the engine's commands share, and what they open.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/base/result.h"
#include "core/cli/engine_commands.h"
#include "core/cli/load_engine.h"
#include "core/compute/compute.h"
#include "core/model/model.h"

namespace hearth::cli {

struct ModelOptions {
    std::string model;             ///< empty: see find_model
    std::string synthetic;         ///< "NAME:TYPE": goes before the others
    std::string backend;           ///< empty: the settings', else the best present
    std::int32_t threads = 0;      ///< 0: the settings', else one per core
    bool is_exact = false;         ///< activations stay floats
    std::string kv_cache;          ///< empty: the settings', else "f16"
    std::string prediction_block;  ///< empty: see find_prediction_block; "none"
};

void add_model_option(CLI::App& command, ModelOptions& options);
void add_synthetic_option(CLI::App& command, ModelOptions& options);
void add_backend_options(CLI::App& command, ModelOptions& options);
void add_prediction_option(CLI::App& command, ModelOptions& options);
void add_cache_option(CLI::App& command, ModelOptions& options);

/// Errors: those of load_settings and find_model.
Result<std::string> model_path(const ModelOptions& options, const EngineContext& context);

/// What is wrong with a block for multi-token prediction is said on `context.err`.
///
/// Errors: those of model_path, load_model and make_synthetic.
Result<std::shared_ptr<const model::Model>> open_model(const ModelOptions& options,
                                                       const EngineContext& context);

/// Where none is named and it fails, what was left out is said on `context.err`.
///
/// Errors: those of load_settings and BackendRegistry::make.
Result<std::unique_ptr<compute::Backend>> open_backend(const ModelOptions& options,
                                                       const EngineContext& context);

/// The type of cache that is asked for.   Errors: those of load_settings.
Result<compute::Dtype> cache_type(const ModelOptions& options, const EngineContext& context);

/// An engine whose context is that of `limits`, with the type of cache that is asked for. What did
/// not work on the way to it is said on `context.err`.
///
/// Errors: those of load_settings and load_engine.
Result<LoadedEngine> open_engine(const ModelOptions& options,
                                 const std::shared_ptr<const model::Model>& model,
                                 const engine::EngineLimits& limits,
                                 const Clock& clock,
                                 const EngineContext& context);

}  // namespace hearth::cli
