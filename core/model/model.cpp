#include "core/model/model.h"

#include <array>

#include "core/model/architecture.h"

namespace hearth::model {
namespace {

struct Architecture {
    std::string_view name;
    Result<std::shared_ptr<const Model>> (*make)(const File& file);
};

constexpr std::array<Architecture, 5> kArchitectures = {{
    {"deepseek2", &make_deepseek2},
    {"qwen3moe", &make_qwen3moe},
    {"granitemoe", &make_granitemoe},
    {"llama", &make_llama},
    {"qwen2", &make_qwen2},
}};

}  // namespace

Result<std::shared_ptr<const Model>> load_model(const std::string& path) {
    HEARTH_TRY(const auto file, formats::GgufFile::load(path));
    return make_model(file);
}

Result<std::shared_ptr<const Model>> make_model(
    const std::shared_ptr<const formats::GgufFile>& file) {
    HEARTH_TRY(const std::string name, file->string("general.architecture"));
    std::string known;
    for (const Architecture& architecture : kArchitectures) {
        known += (known.empty() ? "" : ", ") + std::string(architecture.name);
        if (architecture.name != name) continue;
        HEARTH_TRY(auto model, architecture.make(file));
        // The last wall: whatever the metadata says, no backend gets a plan that could reach
        // outside a weight.
        if (auto sound = validate(model->plan(1), model->weights()); !sound) {
            return fail(
                ErrorCode::corrupt,
                "the metadata of " + file->path() + " makes no sound model: " + sound.error().text,
                "model");
        }
        return model;
    }
    return fail(ErrorCode::unsupported,
                file->path() + " is of architecture \"" + name +
                    "\", which is not known; known are " + known,
                "model");
}

}  // namespace hearth::model
