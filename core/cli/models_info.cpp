// hearth models info: what a model file holds and whether it can be run.
#include <iomanip>
#include <map>
#include <ostream>

#include "core/cli/engine_commands.h"
#include "core/cli/model_options.h"

namespace hearth::cli {
namespace {

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
    print_line(out, "cache row", std::to_string(row) + " elements per token");
}

Result<int> run_models_info(const ModelOptions& options, const EngineContext& context) {
    HEARTH_TRY(const std::string path, model_path(options, context));
    HEARTH_TRY(const auto file, formats::GgufFile::load(path));
    std::ostream& out = context.out;
    print_line(out, "file", path);
    print_line(out, "size", std::to_string(file->size_bytes()) + " bytes");
    const std::string* architecture = file->find_string("general.architecture");
    print_line(out, "architecture", architecture != nullptr ? *architecture : "not said");
    const std::string* name = file->find_string("general.name");
    if (name != nullptr) print_line(out, "name", *name);
    print_tensors(out, *file);
    const auto model = model::make_model(file);
    if (model) print_model(out, **model);
    out << "metadata\n";
    print_metadata(out, *file);
    // What was asked for is printed; that the model cannot run is the command's outcome.
    if (!model) return fail(model.error());
    return kExitDone;
}

}  // namespace

void add_models_info(Program& program, const EngineContext& context) {
    const auto options = std::make_shared<ModelOptions>();
    CLI::App* command =
        program.add("models",
                    "Look at model files",
                    "info",
                    "Say what a model file holds, and whether it can be run",
                    [options, &context] { return run_models_info(*options, context); });
    command->add_option("file", options->model, "GGUF file (default: the model in use)");
}

}  // namespace hearth::cli
