// The trained model as the GGUF file that ships, and back: shape, tokenizer and weights under the
// names and keys of the deepseek2 architecture.
#pragma once

#include <span>
#include <string>

#include "core/base/result.h"
#include "core/compute/dtype.h"
#include "training/tokenizer/tokenizer_file.h"
#include "training/trainer/checkpoint.h"

namespace hearth::trainer {

struct ModelFileOptions {
    std::string name = "hearth default";
    std::string description;
    std::uint32_t context_length = 512;  // the window that was trained
    /// Where readers put <|fim_middle|>: "line" (before the cursor's line, as in the samples),
    /// "none" (what little training teaches first) or "cursor".
    std::string infill_mark = "line";
    /// Types of routed experts, and of matrices that are neither these nor router and norms (F32),
    /// where their rows allow it; else Q8_0, else F32.
    compute::Dtype expert_dtype = compute::Dtype::q4_0;
    compute::Dtype matrix_dtype = compute::Dtype::q6_k;
    compute::Dtype embedding_dtype = compute::Dtype::q6_k;
};

/// In Q4_0 routed experts are rounded as `round_experts` does: after training with rounding the
/// file holds the values that were trained. Errors: invalid_argument (the tokenizer has another
/// vocabulary, a special token is missing); io.
Result<void> write_model(const ModelShape& shape,
                         std::span<const float> weights,
                         const training::TokenizerFile& tokenizer,
                         const ModelFileOptions& options,
                         const std::string& path);

/// The block for multi-token prediction over a model of that shape, as a file of its own: layer
/// `layer_count`, without embedding and head, which are the model's. `weights` in the order of
/// ParameterLayout::make_mtp. Errors: as above.
Result<void> write_mtp_block(const ModelShape& shape,
                             std::span<const float> weights,
                             const training::TokenizerFile& tokenizer,
                             const ModelFileOptions& options,
                             const std::string& path);

/// The shape and weights of a file that `write_model` wrote, with moments and counters at zero.
/// Errors: those of GgufFile::load; unsupported (another architecture, or parts that the trainer
/// does not have); corrupt (a tensor is missing or of another shape).
Result<TrainState> load_model(const std::string& path);

/// What such a file says of itself (name, description, context, mark), with the types of a new one:
/// a file made from it is read as it was.   Errors: those of GgufFile::load; missing keys.
Result<ModelFileOptions> load_options(const std::string& path);

/// The tokenizer of such a file: new shards for a model that is there have to be cut by it.
/// Errors: those of GgufFile::load and TokenizerFile::parse; unsupported (no byte-level BPE, or
/// ids in another order than ours).
Result<training::TokenizerFile> load_tokenizer(const std::string& path);

}  // namespace hearth::trainer
