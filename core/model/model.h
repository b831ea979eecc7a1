// The door of core/model: a loaded model is a configuration, its weights and the Plan that its
// architecture records. Public headers: model.h, model_config.h, placement.h (what a model takes on
// a device), synthetic.h (known shapes with random weights). One file per architecture:
// deepseek2.cpp, qwen3moe.cpp, granitemoe.cpp, llama.cpp, qwen2.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/compute/compute.h"
#include "core/formats/gguf.h"
#include "core/model/model_config.h"

namespace hearth::model {

/// The forward passes of a model that has a block for multi-token prediction: one more layer behind
/// the last that guesses a token further than the head does. All of them have one cache, whose last
/// layer is the block's; its row of a token belongs to the tokens up to this one, as all others.
/// Source: DeepSeek-V3, arXiv:2412.19437, section 2.2.
struct PredictionPlans {
    compute::Plan trunk;  ///< Model::plan(), and hands out the rows that its head reads
    /// Takes in, for each token, the trunk's row of the token before it (zeros where that is not
    /// known), and leaves the block's rows in the cache. Nobody asks for its logits.
    compute::Plan store;
    compute::Plan draft;  ///< the same, and its logits guess the token that follows
};

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
    /// For steps of at most `tokens_max` tokens, and of at most `drafts_max` for the draft. Empty:
    /// the model has no block, or one of no use (prediction_fault).
    [[nodiscard]] virtual std::optional<PredictionPlans> prediction(
        std::int32_t /*tokens_max*/, std::int32_t /*drafts_max*/) const {
        return std::nullopt;
    }
    /// A sentence where there is a block that cannot be used; else empty.
    [[nodiscard]] virtual std::string prediction_fault() const { return {}; }
    /// The file the model came from: metadata for the tokenizer and for `models info`.
    [[nodiscard]] virtual const formats::GgufFile& file() const = 0;

  protected:
    Model() = default;
};

/// Maps `path` and prepares the model. Weights stay in the map; only what a file holds in an older
/// layout is derived. A block for multi-token prediction is taken from the file at
/// `prediction_path`, else from the model's own; one that cannot be used costs nothing else
/// (Model::prediction_fault).
///
/// Errors: those of GgufFile::load; unsupported (architecture, naming the known ones); corrupt (a
/// tensor is missing or has an unexpected shape, naming it).
Result<std::shared_ptr<const Model>> load_model(const std::string& path,
                                                const std::string& prediction_path = {});
Result<std::shared_ptr<const Model>> make_model(
    const std::shared_ptr<const formats::GgufFile>& file,
    const std::shared_ptr<const formats::GgufFile>& prediction_file = nullptr);

}  // namespace hearth::model
