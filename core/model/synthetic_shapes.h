// The shapes of known models as tables of numbers, and the names and axes of their tensors. Private
// to core/model.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/compute/tensor.h"
#include "core/formats/gguf.h"

namespace hearth::model {

/// One model as its public configuration has it; 0 and false where the architecture has no such
/// part.
struct SyntheticShape {
    std::string_view name, architecture;
    std::int64_t vocab_size, hidden_dim, layer_count, context_length;
    std::int64_t head_count, kv_head_count = 0, head_dim = 0;  ///< grouped-query attention
    std::int64_t query_rank = 0, latent_dim = 0, nope_dim = 0, rope_dim = 0,
                 value_dim = 0;  ///< MLA
    std::int64_t dense_layer_count = 0, dense_ffn_dim = 0;
    std::int64_t expert_count, experts_per_token, expert_ffn_dim, shared_expert_count = 0;
    double rope_base = 10000.0;
    double yarn_log_multiplier = 0.0;  ///< above 0: YaRN from 4,096 tokens by 40
    bool is_tied = false;
    bool has_prediction_block = false;  ///< deepseek2: behind the last layer, not counted with them
    bool has_sigmoid_gating = false;  ///< deepseek2: with selection bias and groups, as V3 has them
};

std::span<const SyntheticShape> synthetic_shapes();

enum class TensorRole {
    norm,    ///< F32, ones
    bias,    ///< F32, small
    router,  ///< F32
    embedding,
    head,  ///< the embedding too, where it is tied
    matrix,
    experts,
};

struct SyntheticTensor {
    std::string name;
    compute::Shape shape;
    TensorRole role;
    std::int64_t layer = -1;  ///< -1: of no layer
};

/// In the order of a file.
std::vector<SyntheticTensor> tensors_of(const SyntheticShape& shape);

/// What make_model reads, under `name`.
std::vector<formats::GgufFile::Entry> metadata_of(const SyntheticShape& shape, std::string name);

}  // namespace hearth::model
