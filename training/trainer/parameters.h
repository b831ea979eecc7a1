// Every weight of the model in one flat array, with a list that says what lies where. Gradients
// and optimiser moments use the same offsets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "training/trainer/shape.h"

namespace hearth::trainer {

/// How a parameter is updated and stored.
enum class ParameterKind {
    matrix,        // Muon, each matrix alone
    embedding,     // AdamW; also the head
    norm,          // AdamW without decay
    router,        // AdamW
    routing_bias,  // no gradient: moved by the load of its expert
};

/// `count` matrices of (rows, columns), row-major, one after the other; named as in GGUF.
struct Parameter {
    std::string name;
    ParameterKind kind = ParameterKind::matrix;
    std::size_t offset = 0;
    std::size_t count = 1, rows = 1, columns = 1;
    bool is_routed_expert = false;  // stored in four bits
    bool starts_at_zero = false;    // writes into the residual stream

    [[nodiscard]] std::size_t elements() const { return count * rows * columns; }
};

/// Offsets of one layer. Where a layer has no such part the offset stays 0 and is not read.
struct LayerOffsets {
    bool is_dense = false;
    std::size_t attention_norm = 0, query_a = 0, query_a_norm = 0, query_b = 0;
    std::size_t latent_a = 0, latent_norm = 0, key_b = 0, value_b = 0, output = 0;
    std::size_t ffn_norm = 0, router = 0, routing_bias = 0;
    std::size_t gate = 0, up = 0, down = 0;  // dense, or all routed experts
    std::size_t shared_gate = 0, shared_up = 0, shared_down = 0;
};

struct ParameterLayout {
    explicit ParameterLayout(const ModelShape& shape);
    /// Of the block for multi-token prediction over a model of that shape: one more layer, named
    /// as the one behind the last, and what leads into it; embedding and head are the model's.
    static ParameterLayout make_mtp(const ModelShape& shape);

    std::vector<Parameter> parameters;
    std::vector<LayerOffsets> layers;
    std::size_t embedding = 0, output_norm = 0;
    std::size_t elements = 0;

  private:
    ParameterLayout() = default;
};

/// Starting weights: normal with 1/sqrt(columns) for matrices, 0.02 for the embedding and the
/// routers, ones for norms, zero for what writes into the residual stream. The same seed gives the
/// same weights.
std::vector<float> make_weights(const ParameterLayout& layout, std::uint64_t seed);

}  // namespace hearth::trainer
