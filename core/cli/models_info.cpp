// hearth models info: what a model file holds, whether it can be run, and whether it fits a device.
#include <algorithm>
#include <cmath>
#include <iomanip>
#include <map>
#include <ostream>
#include <sstream>

#include "core/cli/engine_commands.h"
#include "core/cli/model_options.h"
#include "core/cli/settings.h"
#include "core/compute/host_memory.h"
#include "core/engine/engine.h"
#include "core/model/placement.h"
#include "core/model/synthetic.h"

namespace hearth::cli {
namespace {

struct InfoOptions {
    ModelOptions model;       ///< the backend: which device a model is to fit
    double memory_gib = 0.0;  ///< 0: what the device has free
    std::int32_t context_tokens = 0;
};

struct TypeTotal {
    std::int64_t tensors = 0;
    std::int64_t bytes = 0;
};

void print_line(std::ostream& out, const std::string& label, const std::string& value) {
    out << std::left << std::setw(16) << label << value << '\n';
}

/// Scalars only: arrays are the tokenizer's, thousands of lines.
void print_metadata(std::ostream& out, const formats::GgufFile& file) {
    for (const auto& entry : file.metadata()) {
        out << "  " << entry.key << " = ";
        if (const auto* flag = std::get_if<bool>(&entry.value)) {
            out << (*flag ? "true" : "false");
        } else if (const auto* integer = std::get_if<std::int64_t>(&entry.value)) {
            out << *integer;
        } else if (const auto* natural = std::get_if<std::uint64_t>(&entry.value)) {
            out << *natural;
        } else if (const auto* real = std::get_if<double>(&entry.value)) {
            out << *real;
        } else if (const auto* text = std::get_if<std::string>(&entry.value)) {
            out << *text;
        } else {
            const auto& array = *std::get<std::shared_ptr<const formats::GgufArray>>(entry.value);
            out << "array of " << array.integers.size() + array.reals.size() + array.strings.size();
        }
        out << '\n';
    }
}

void print_tensors(std::ostream& out, const formats::GgufFile& file) {
    std::map<std::string, TypeTotal> totals;
    std::int64_t parameters = 0;
    for (const compute::Tensor& tensor : file.tensors()) {
        TypeTotal& total = totals[std::string(compute::traits(tensor.dtype).name)];
        ++total.tensors;
        total.bytes += static_cast<std::int64_t>(tensor.bytes.size());
        parameters += tensor.shape.elements();
    }
    print_line(out, "parameters", std::to_string(parameters));
    print_line(out, "tensors", std::to_string(file.tensors().size()));
    for (const auto& [type, total] : totals) {
        print_line(
            out,
            "  " + type,
            std::to_string(total.tensors) + " tensors, " + std::to_string(total.bytes) + " bytes");
    }
}

void print_model(std::ostream& out, const model::Model& model) {
    const model::ModelConfig& config = model.config();
    print_line(out, "layers", std::to_string(config.layer_count));
    print_line(out, "hidden dim", std::to_string(config.hidden_dim));
    print_line(out,
               "heads",
               std::to_string(config.head_count) + " over " + std::to_string(config.kv_head_count) +
                   " KV heads");
    if (config.expert_count > 0) {
        print_line(out,
                   "experts",
                   std::to_string(config.experts_per_token) + " of " +
                       std::to_string(config.expert_count) + " per token");
    }
    print_line(out, "context", std::to_string(config.context_length) + " tokens");
    print_line(out, "vocabulary", std::to_string(config.vocab_size));
    const compute::Plan plan = model.plan(1);
    const std::int64_t read = compute::weight_bytes_per_token(plan, model.weights());
    print_line(out, "weights read", std::to_string(read) + " bytes per token");
    const std::int64_t row = plan.kv.layer_count * (plan.kv.key_dim + plan.kv.value_dim);
    compute::KvLayout quantised = plan.kv;
    quantised.dtype = compute::Dtype::q8_0;
    print_line(out,
               "cache row",
               std::to_string(row) + " elements per token: " +
                   std::to_string(compute::cache_bytes_per_token(plan.kv)) + " bytes in F16, " +
                   std::to_string(compute::cache_bytes_per_token(quantised)) + " in Q8_0");
}

std::string bytes_text(std::int64_t bytes) {
    std::ostringstream text;
    text << bytes << " bytes (" << std::fixed << std::setprecision(2)
         << static_cast<double>(bytes) / 0x1p30 << " GiB)";
    return text.str();
}

/// Experts beyond the device lie in pinned memory, which cannot be swapped: what this machine has
/// free now is the limit. 0: they fit, or nobody says what is free.
std::int64_t missing_on_host(const model::Placement& placement) {
    const auto memory = compute::host_memory();
    if (placement.host_bytes == 0 || !memory) return 0;
    return std::max<std::int64_t>(placement.host_bytes - memory->free_bytes, 0);
}

void print_placement(std::ostream& out, const model::Placement& placement) {
    const auto bytes = [&out](const char* label, std::int64_t count) {
        if (count > 0) print_line(out, label, bytes_text(count));
    };
    bytes("  weights", placement.weight_bytes);
    bytes("  expert slots", placement.expert_cache_bytes);
    bytes("  cache", placement.cache_bytes);
    bytes("  graphs", placement.graph_bytes);
    bytes("  workspace", placement.workspace_bytes);
    bytes("  reserve", placement.reserve_bytes);
    bytes("  in all", placement.device_bytes());
    bytes("  on the host", placement.host_bytes);
    if (placement.host_bytes > 0) {
        const auto [fewest, most] = std::ranges::minmax(placement.expert_slots);
        const std::string range = fewest == most
                                      ? std::to_string(most)
                                      : std::to_string(fewest) + " to " + std::to_string(most);
        print_line(out, "  experts", range + " of each layer on the device at a time");
    }
    print_line(out, "  context", std::to_string(placement.context_tokens) + " tokens");
    if (placement.missing_bytes > 0) {
        print_line(out,
                   "  does not fit",
                   bytes_text(placement.missing_bytes) +
                       " are missing; ask for a shorter --context or take a smaller model");
    } else if (const std::int64_t missing = missing_on_host(placement); missing > 0) {
        print_line(out,
                   "  does not fit",
                   bytes_text(missing) +
                       " of this machine's memory are missing for routed experts on the host; "
                       "close other programs or take a smaller model");
    } else {
        print_line(out,
                   "  fits",
                   placement.host_bytes > 0 ? "with routed experts on the host" : "as a whole");
    }
}

/// What the model takes on a device that is there, or on one of `memory_gib`.
Result<void> print_fit(const model::Model& model,
                       const InfoOptions& options,
                       const EngineContext& context) {
    std::string device = options.model.backend.empty() ? "cuda" : options.model.backend;
    auto free_bytes = static_cast<std::int64_t>(std::llround(options.memory_gib * 0x1p30));
    if (options.memory_gib == 0.0) {
        HEARTH_TRY(const auto backend, open_backend(options.model, context));
        const auto memory = backend->memory();
        if (!memory) {
            return fail(
                ErrorCode::invalid_argument,
                "the " + device + " backend does not know what is free; say how much with --memory",
                "models info");
        }
        free_bytes = memory->free_bytes;
    }
    HEARTH_TRY(const compute::Dtype cache, cache_type(options.model, context));
    HEARTH_TRY(const Settings settings, load_settings(context.settings_path));
    const engine::EngineLimits limits;  // the daemon's
    std::int32_t context_tokens = options.context_tokens;
    if (context_tokens == 0) context_tokens = settings.context_tokens;
    // Only a device with memory of its own gets as long a one as fits.
    if (context_tokens == 0 && device != "cuda") context_tokens = limits.context_tokens_max;
    if (const std::int32_t most = model.config().context_length; most > 0) {
        context_tokens = std::min(context_tokens, most);
    }
    const model::PlacementRequest request{
        .free_bytes = free_bytes,
        .context_tokens = context_tokens,
        .cache_tokens = limits.cache_tokens,
        .step_tokens = model::prompt_tokens_per_step(device, model.config()) + limits.sequences_max,
        .draft_tokens = limits.sequences_max,
        .costs = model::device_costs(device, cache)};
    print_line(context.out, "fit", device + " with " + bytes_text(free_bytes) + " free");
    print_placement(context.out, model::place(model, request));
    return {};
}

Result<std::shared_ptr<const formats::GgufFile>> open_file(const ModelOptions& options,
                                                           const EngineContext& context) {
    if (!options.synthetic.empty()) {
        return model::make_synthetic(options.synthetic, {.is_filled = false});
    }
    HEARTH_TRY(const std::string path, model_path(options, context));
    return formats::GgufFile::load(path);
}

Result<int> run_models_info(const InfoOptions& options, const EngineContext& context) {
    HEARTH_TRY(const auto file, open_file(options.model, context));
    std::ostream& out = context.out;
    print_line(out, "file", file->path());
    print_line(out, "size", std::to_string(file->size_bytes()) + " bytes");
    const std::string* architecture = file->find_string("general.architecture");
    print_line(out, "architecture", architecture != nullptr ? *architecture : "not said");
    const std::string* name = file->find_string("general.name");
    if (name != nullptr) print_line(out, "name", *name);
    print_tensors(out, *file);
    const auto model = model::make_model(file);
    if (model) {
        print_model(out, **model);
        if (!options.model.backend.empty() || options.memory_gib > 0.0) {
            HEARTH_CHECK(print_fit(**model, options, context));
        }
    }
    out << "metadata\n";
    print_metadata(out, *file);
    // What was asked for is printed; that the model cannot run is the command's outcome.
    if (!model) return fail(model.error());
    return kExitDone;
}

}  // namespace

void add_models_info(Program& program, const EngineContext& context) {
    const auto options = std::make_shared<InfoOptions>();
    CLI::App* command =
        program.add("models",
                    "Look at model files",
                    "info",
                    "Say what a model file holds, and whether it can be run",
                    [options, &context] { return run_models_info(*options, context); });
    command->add_option("file", options->model.model, "GGUF file (default: the model in use)");
    add_synthetic_option(*command, options->model);
    add_cache_option(*command, options->model);
    command
        ->add_option("--device",
                     options->model.backend,
                     "Count what the model takes there, in what is free: cuda")
        ->check(CLI::IsMember({"reference", "cpu", "cuda"}));
    command
        ->add_option("--memory",
                     options->memory_gib,
                     "The same for a device with so many GiB free, which need not be there")
        ->check(CLI::Range(0.0, 65536.0));
    command
        ->add_option("--context",
                     options->context_tokens,
                     "Tokens of context to have room for (default: as many as fit)")
        ->check(CLI::Range(1, 1 << 24));
}

}  // namespace hearth::cli
