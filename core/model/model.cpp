#include "core/model/model.h"

#include <array>

#include "core/model/architecture.h"

namespace hearth::model {
namespace {

struct Architecture {
    std::string_view name;
    Result<std::shared_ptr<const Model>> (*make)(const File& file, const PredictionSource& source);
};

/// Of an architecture that knows no block for multi-token prediction.
template <Result<std::shared_ptr<const Model>> (*make)(const File&)>
Result<std::shared_ptr<const Model>> make_plain(const File& file, const PredictionSource&) {
    return make(file);
}

constexpr std::array<Architecture, 5> kArchitectures = {{
    {"deepseek2", &make_deepseek2},
    {"qwen3moe", &make_plain<&make_qwen3moe>},
    {"granitemoe", &make_plain<&make_granitemoe>},
    {"llama", &make_plain<&make_llama>},
    {"qwen2", &make_plain<&make_qwen2>},
}};

/// What is wrong with the plans of the model's block; empty: nothing, or there is none.
std::string prediction_fault(const Model& model) {
    const auto plans = model.prediction(1, 1);
    if (!plans) return {};
    for (const compute::Plan* plan : {&plans->trunk, &plans->store, &plans->draft}) {
        const auto sound = validate(*plan, model.weights());
        if (!sound)
            return "the block for multi-token prediction is not sound: " + sound.error().text;
    }
    return {};
}

Result<std::shared_ptr<const Model>> make(const File& file, const PredictionSource& source) {
    HEARTH_TRY(const std::string name, file->string("general.architecture"));
    std::string known;
    for (const Architecture& architecture : kArchitectures) {
        known += (known.empty() ? "" : ", ") + std::string(architecture.name);
        if (architecture.name != name) continue;
        HEARTH_TRY(auto model, architecture.make(file, source));
        // The last wall: whatever the metadata says, no backend gets a plan that could reach
        // outside a weight.
        if (auto sound = validate(model->plan(1), model->weights()); !sound) {
            return fail(
                ErrorCode::corrupt,
                "the metadata of " + file->path() + " makes no sound model: " + sound.error().text,
                "model");
        }
        const std::string fault = prediction_fault(*model);
        return fault.empty() ? model : architecture.make(file, {nullptr, fault});
    }
    return fail(ErrorCode::unsupported,
                file->path() + " is of architecture \"" + name +
                    "\", which is not known; known are " + known,
                "model");
}

}  // namespace

Result<std::shared_ptr<const Model>> load_model(const std::string& path,
                                                const std::string& prediction_path) {
    HEARTH_TRY(const auto file, formats::GgufFile::load(path));
    if (prediction_path.empty()) return make(file, {});
    auto prediction_file = formats::GgufFile::load(prediction_path);
    if (!prediction_file) return make(file, {nullptr, prediction_file.error().text});
    return make(file, {*prediction_file, {}});
}

Result<std::shared_ptr<const Model>> make_model(
    const std::shared_ptr<const formats::GgufFile>& file,
    const std::shared_ptr<const formats::GgufFile>& prediction_file) {
    return make(file, {prediction_file, {}});
}

}  // namespace hearth::model
