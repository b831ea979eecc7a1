// What a file of deepseek2 holds: its numbers and its tensors, those of a block for multi-token
// prediction among them. Private to core/model.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/model/architecture.h"
#include "core/model/feed_forward.h"

namespace hearth::model {

/// The numbers beyond ModelConfig.
struct Deepseek2Numbers {
    std::int64_t latent_dim = 0;
    std::int64_t query_rank = 0;  ///< 0: queries are projected in one step
    std::int64_t nope_dim = 0, rope_dim = 0, value_dim = 0;
    std::int64_t dense_layer_count = 0;
    std::int64_t dense_ffn_dim = 0;
    std::int64_t expert_ffn_dim = 0;
    std::int64_t shared_ffn_dim = 0;  ///< 0: no shared expert
    Routing routing;
    std::vector<float> rope_frequencies;
    float rope_magnitude = 1.0F;
    float score_scale = 1.0F;
};

struct Deepseek2Layer {
    compute::WeightId attention_norm, q, q_a, q_a_norm, latent, latent_norm, k_up, v_up, output,
        ffn_norm;
    bool is_dense;
    DenseWeights dense;  ///< the whole feed-forward of a leading layer, else the shared expert
    ExpertWeights experts;
};

struct Deepseek2Weights {
    compute::WeightId embedding, output_norm, head;
    std::vector<Deepseek2Layer> layers;
};

/// The block behind the last layer. Its input is `join` times the embedding of a token, normed,
/// beside the trunk's row of the token before it, normed.
struct Deepseek2Prediction {
    compute::WeightId embedding, embedding_norm, row_norm, join, output_norm, head;
    Deepseek2Layer layer;
};

/// `config.layer_count` is without the layers for multi-token prediction.   Errors: corrupt.
Result<Deepseek2Numbers> read_deepseek2_numbers(const Metadata& metadata,
                                                const ModelConfig& config);

/// Errors: those of Weights.
Result<Deepseek2Weights> take_deepseek2(Weights& weights,
                                        const ModelConfig& config,
                                        const Deepseek2Numbers& numbers);

/// The block whose tensors begin with "blk.N.", N = config.layer_count; what it has no tensor of is
/// the trunk's.   Errors: those of Weights.
Result<Deepseek2Prediction> take_deepseek2_prediction(Weights& weights,
                                                      const ModelConfig& config,
                                                      const Deepseek2Numbers& numbers,
                                                      const Deepseek2Weights& trunk);

}  // namespace hearth::model
