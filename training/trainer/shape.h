// The shape of the model that is trained: deepseek2 with latent attention, leading dense layers,
// routed experts with sigmoid gating, one shared expert and a tied head. Presets by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/base/result.h"

namespace hearth::trainer {

/// Words as in GGUF; every width in elements.
struct ModelShape {
    std::size_t vocab_size = 0;
    std::size_t hidden_dim = 0;
    std::size_t layer_count = 0;
    std::size_t dense_layer_count = 0;  // leading layers without experts
    std::size_t head_count = 0;
    std::size_t nope_dim = 0;   // of a query or key head, the part without position
    std::size_t rope_dim = 0;   // ... and the part that is rotated; even
    std::size_t value_dim = 0;  // of a value head
    std::size_t query_rank = 0;
    std::size_t latent_rank = 0;  // what the KV cache keeps, beside rope_dim
    std::size_t dense_ffn_dim = 0;
    std::size_t expert_ffn_dim = 0;  // of a routed expert
    std::size_t expert_count = 0;
    std::size_t experts_per_token = 0;
    float expert_weights_scale = 1;
    float norm_epsilon = 1e-6F;
    float rope_base = 10000;
    std::uint32_t shared_expert_count = 1;  // as wide as so many routed ones

    [[nodiscard]] std::size_t shared_ffn_dim() const {
        return shared_expert_count * expert_ffn_dim;
    }
    [[nodiscard]] std::size_t head_dim() const { return nope_dim + rope_dim; }
    bool operator==(const ModelShape&) const = default;
};

/// "tiny-cpu", "c1" or "h2" (for a GPU: training/gpu).   Errors: not_found, naming the presets.
Result<ModelShape> make_shape(std::string_view preset);

/// Errors: invalid_argument where a width is zero, odd, too small for its use or too
/// large for any.
Result<void> validate(const ModelShape& shape);

}  // namespace hearth::trainer
