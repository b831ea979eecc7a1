// Small models with random weights and a fixed seed: every architecture and block type in a few
// hundred kilobytes, with a byte-level tokenizer and the special tokens of a code model.
//
// What they write is nonsense, but always printable: the head's rows of all other tokens (special
// ones, parts of characters, control bytes but the line feed) are zero, so that the greedy choice
// never falls on them. The logits of the others are wide apart (a standard deviation of 8), so that
// rounding seldom changes the choice and a suggestion looks like a confident one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/compute/dtype.h"
#include "core/model/model.h"

namespace hearth::test {

struct TinyModelOptions {
    std::string architecture = "deepseek2";  ///< or "qwen3moe", "granitemoe", "llama", "qwen2"
    std::uint64_t seed = 1;
    /// Of all matrices but the router; Q8_0, else F16, where a row is no whole number of blocks.
    compute::Dtype dtype = compute::Dtype::q8_0;
    /// Length of most axes, a multiple of 64; 256 fits the K types.
    std::int32_t hidden_dim = 64;
    std::int32_t layer_count = 3;
    std::int32_t context_length = 2048;
    bool has_tied_head = false;         ///< the head is the embedding: any token may be written
    bool has_unsplit_kv_b = false;      ///< deepseek2: the older layout, and no q_lora
    bool has_merged_gate_up = false;    ///< experts: ffn_gate_up_exps
    bool has_selection_groups = false;  ///< deepseek2: 4 groups, use 2
    bool has_prediction_block = false;  ///< deepseek2: the last layer is one for further tokens
    bool has_softmax_gating = false;    ///< deepseek2: else sigmoid with a selection bias
    bool has_shared_expert = false;     ///< granitemoe
    std::string pre_tokenizer = "qwen2";
};

/// The file as bytes. Deterministic: the same options give the same bytes everywhere.
std::vector<std::byte> tiny_model_bytes(const TinyModelOptions& options = {});

/// Writes the file; throws std::runtime_error where that fails. Returns `path`.
std::string write_tiny_model(const std::string& path, const TinyModelOptions& options = {});

/// Loaded from memory; the bytes live as long as the model.
std::shared_ptr<const model::Model> tiny_model(const TinyModelOptions& options = {});

}  // namespace hearth::test
