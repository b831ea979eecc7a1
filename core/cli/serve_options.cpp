#include "core/cli/serve_options.h"

#include "core/cli/settings.h"

namespace hearth::cli {

void add_serve_options(CLI::App& app, ServeOptions& options) {
    app.add_option("--model",
                   options.model,
                   "GGUF file; else HEARTH_MODEL, else the settings, else the default model");
    app.add_option(
        "--backend", options.backend, "cpu, reference or cuda; the best present where not named");
    app.add_option(
           "--threads", options.threads, "threads of the CPU backend; one per core where not named")
        ->check(CLI::Range(0, 1024));
    app.add_option("--kv-cache",
                   options.kv_cache,
                   "how keys and values are kept: f16, or q8_0 in about half the memory")
        ->check(CLI::IsMember(cache_type_names()));
    app.add_option("--prediction-block",
                   options.prediction_block,
                   "GGUF file of a block for multi-token prediction, or none; else the settings, "
                   "else mtp.gguf beside the model");
    app.add_option("--idle-exit",
                   options.idle_exit_minutes,
                   "end so many minutes after the last client; 0: never")
        ->check(CLI::Range(0, 1 << 20));
}

std::vector<std::string> to_arguments(const ServeOptions& options) {
    std::vector<std::string> words;
    if (!options.model.empty()) words.insert(words.end(), {"--model", options.model});
    if (!options.backend.empty()) words.insert(words.end(), {"--backend", options.backend});
    if (options.threads != 0)
        words.insert(words.end(), {"--threads", std::to_string(options.threads)});
    if (!options.kv_cache.empty()) words.insert(words.end(), {"--kv-cache", options.kv_cache});
    if (!options.prediction_block.empty()) {
        words.insert(words.end(), {"--prediction-block", options.prediction_block});
    }
    if (options.idle_exit_minutes != 0) {
        words.insert(words.end(), {"--idle-exit", std::to_string(options.idle_exit_minutes)});
    }
    return words;
}

}  // namespace hearth::cli
