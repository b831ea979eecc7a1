// The door of core/model: a loaded model is a configuration, its weights and the Plan that its
// architecture records. Public headers: model.h, model_config.h, placement.h (what a model takes on
// a device), synthetic.h (known shapes with random weights). One file per architecture:
// deepseek2.cpp, qwen3moe.cpp, granitemoe.cpp, llama.cpp, qwen2.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/compute/compute.h"
#include "core/formats/gguf.h"
#include "core/model/model_config.h"

namespace hearth::model {

/// One loaded model.
///
/// Owner and life: keeps the mapped file and the few derived tensors; borrowed by backends through
/// weights(). Thread: any; fixed after load.
class Model {
  public:
    virtual ~Model() = default;
    Model(const Model&) = delete;
    Model& operator=(const Model&) = delete;

    [[nodiscard]] virtual const ModelConfig& config() const = 0;
    /// Every weight of the model, at the index (WeightId) by which its Plans name it.
    [[nodiscard]] virtual std::span<const compute::Tensor> weights() const = 0;
    /// The forward pass for steps of at most `tokens_max` tokens.
    [[nodiscard]] virtual compute::Plan plan(std::int32_t tokens_max) const = 0;
    /// The file the model came from: metadata for the tokenizer and for `models info`.
    [[nodiscard]] virtual const formats::GgufFile& file() const = 0;

  protected:
    Model() = default;
};

/// Maps `path` and prepares the model. Weights stay in the map; only what a file holds in an older
/// layout is derived.
///
/// Errors: those of GgufFile::load; unsupported (architecture, naming the known ones); corrupt (a
/// tensor is missing or has an unexpected shape, naming it).
Result<std::shared_ptr<const Model>> load_model(const std::string& path);
Result<std::shared_ptr<const Model>> make_model(
    const std::shared_ptr<const formats::GgufFile>& file);

}  // namespace hearth::model
