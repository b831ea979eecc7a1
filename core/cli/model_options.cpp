#include "core/cli/model_options.h"

#include <ostream>

#include "core/cli/backends.h"
#include "core/cli/settings.h"
#include "core/model/synthetic.h"

namespace hearth::cli {
namespace {

constexpr std::int32_t kThreadsMax = 1024;

LoadSettings load_settings_of(const ModelOptions& options, const Settings& settings) {
    return {.backend = options.backend.empty() ? settings.backend : options.backend,
            .threads = options.threads > 0 ? options.threads : settings.threads,
            .limits = {}};
}

void print(const std::vector<std::string>& sentences, std::ostream& out) {
    for (const std::string& sentence : sentences) {
        out << sentence << "\n";
    }
}

}  // namespace

void add_model_option(CLI::App& command, ModelOptions& options) {
    command.add_option("--model",
                       options.model,
                       "GGUF file (default: HEARTH_MODEL, the settings, the shipped model)");
}

void add_synthetic_option(CLI::App& command, ModelOptions& options) {
    command.add_option("--synthetic",
                       options.synthetic,
                       "NAME:TYPE, a model of real shapes with random weights, made in memory: " +
                           model::synthetic_names() + "; Q4_K_M, MXFP4, Q8_0, ...");
}

void add_backend_options(CLI::App& command, ModelOptions& options) {
    command
        .add_option("--backend,--device",
                    options.backend,
                    "reference, cpu or cuda (default: the best present)")
        ->check(CLI::IsMember({"reference", "cpu", "cuda"}));
    command
        .add_option(
            "--threads", options.threads, "Threads of a CPU backend (default: one per core)")
        ->check(CLI::Range(0, kThreadsMax));
    command.add_flag(
        "--exact",
        options.is_exact,
        "Activations beside quantised weights stay floats (cuda, reference): slow, for "
        "comparisons");
    add_cache_option(command, options);
}

void add_prediction_option(CLI::App& command, ModelOptions& options) {
    command.add_option("--prediction-block",
                       options.prediction_block,
                       "GGUF file of a block for multi-token prediction, or none (default: the "
                       "settings, mtp.gguf beside the model)");
}

void add_cache_option(CLI::App& command, ModelOptions& options) {
    command
        .add_option("--kv-cache",
                    options.kv_cache,
                    "How keys and values are kept: f16, q8_0 in about half the memory, or f32 for "
                    "comparisons, on the CPU (default: the settings, f16)")
        ->check(CLI::IsMember({"f16", "q8_0", "f32"}));
}

Result<std::string> model_path(const ModelOptions& options, const EngineContext& context) {
    HEARTH_TRY(const Settings settings, load_settings(context.settings_path));
    return find_model(options.model, settings, context.program_folder);
}

Result<std::shared_ptr<const model::Model>> open_model(const ModelOptions& options,
                                                       const EngineContext& context) {
    if (!options.synthetic.empty()) {
        HEARTH_TRY(const auto file, model::make_synthetic(options.synthetic));
        return model::make_model(file);
    }
    HEARTH_TRY(const Settings settings, load_settings(context.settings_path));
    HEARTH_TRY(const std::string path, model_path(options, context));
    const std::string block = find_prediction_block(options.prediction_block, settings, path);
    HEARTH_TRY(auto model, model::load_model(path, block));
    const std::string warning = prediction_warning(*model, block);
    if (!warning.empty()) context.err << warning << "\n";
    return model;
}

Result<std::unique_ptr<compute::Backend>> open_backend(const ModelOptions& options,
                                                       const EngineContext& context) {
    HEARTH_TRY(const Settings settings, load_settings(context.settings_path));
    const LoadSettings load = load_settings_of(options, settings);
    const Backends backends = find_backends(context.program_folder);
    auto backend = backends.registry.make(
        load.backend, {.thread_count = load.threads, .is_exact = options.is_exact});
    if (!backend && load.backend.empty()) print(backends.left_out, context.err);
    return backend;
}

Result<compute::Dtype> cache_type(const ModelOptions& options, const EngineContext& context) {
    HEARTH_TRY(const Settings settings, load_settings(context.settings_path));
    return find_cache_type(options.kv_cache, settings);
}

Result<LoadedEngine> open_engine(const ModelOptions& options,
                                 const std::shared_ptr<const model::Model>& model,
                                 const engine::EngineLimits& limits,
                                 const Clock& clock,
                                 const EngineContext& context) {
    HEARTH_TRY(const Settings settings, load_settings(context.settings_path));
    LoadSettings load = load_settings_of(options, settings);
    load.limits = limits;
    load.limits.cache_type = find_cache_type(options.kv_cache, settings);
    load.limits.has_prediction =
        load.limits.has_prediction && wants_prediction(options.prediction_block, settings);
    load.is_context_asked = true;
    const Backends backends = find_backends(context.program_folder);
    auto loaded = load_engine(model, backends.registry, load, clock);
    if (loaded) {
        print(loaded->warnings, context.err);
    } else if (load.backend.empty()) {
        print(backends.left_out, context.err);
    }
    return loaded;
}

}  // namespace hearth::cli
