// Placement: what a model takes on a device, counted before anything is loaded, and what to do
// where it does not fit. A pure function of the Plan's shapes, the weights' sizes and the free
// memory.
//
// First choice: everything on the device, with as long a context as fits. Else the routed experts
// stay in the host's memory and each layer gets slots on the device for the same number of experts,
// those that were used last: the share of uses that a cache answers grows ever more slowly with its
// size, so equal shares are the best ones. Else it says how many bytes are missing.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "core/model/model.h"

namespace hearth::model {

/// What a kind of device takes beside the bytes of the tensors.
struct DeviceCosts {
    std::int64_t alignment_bytes = 1;  ///< each tensor and value starts on a multiple of it
    compute::Dtype cache_type = compute::Dtype::f16;  ///< f32 where the backend keeps that instead
    /// Numbers of tokens for which steps are captured, each for as many depths as split_sizes()
    /// says.
    std::int64_t graph_sizes = 0;
    std::int64_t graph_bytes_per_operation = 0;  ///< of the Plan, in each graph
    std::int64_t reserve_bytes = 0;              ///< left to libraries and other programs
    std::int64_t step_bytes = 0;       ///< of a step, beside its values and splits: tables
    std::int32_t split_tokens = 0;     ///< positions of one split of attention; 0: it has none
    std::int32_t split_token_max = 1;  ///< tokens of a step that attend by splits at once
    std::int64_t split_bytes = 0;      ///< of all splits, where more than one token has some
    std::int64_t expanded_bytes = 0;   ///< of a step, for keys and values made from latents
    std::int32_t logit_rows = 1;       ///< computed at once
    bool can_leave_experts = true;     ///< to the host's memory
};

/// By a backend's name, with a cache of `cache_type` where it has such ones. For "cuda",
/// graph_bytes_per_operation and reserve_bytes are estimates, and step_bytes is the most that a
/// step takes.
DeviceCosts device_costs(std::string_view backend, compute::Dtype cache_type = compute::Dtype::f16);

/// Splits of attention that the longest of sequences of so many positions has, and the numbers of
/// splits for which steps are captured.
struct SplitSizes {
    std::int64_t most = 0;
    std::int64_t count = 1;
};
SplitSizes split_sizes(std::int64_t positions, std::int64_t split_tokens);

/// Tokens of a prompt that a step takes where nothing else is asked. Most experts are read for
/// fewer tokens too, and each is laid out anew for its tokens: where they are many, the host takes
/// more.
std::int32_t prompt_tokens_per_step(std::string_view backend, const ModelConfig& config);

struct PlacementRequest {
    std::int64_t free_bytes = 0;      ///< of the device
    std::int32_t context_tokens = 0;  ///< 0: as long as fits, at most the model's
    std::int32_t sequence_count = 1;  ///< of that context, at once
    /// Room of the cache that is wanted for more sequences and kept prefixes, where the model is on
    /// the device as a whole and bytes are left.
    std::int32_t cache_tokens = 0;
    std::int32_t step_tokens = 256;  ///< the most that one step takes
    /// That the model's own block guesses in one step (Model::prediction); 0: it is not used.
    std::int32_t draft_tokens = 0;
    DeviceCosts costs;
};

/// Where the context may be chosen: one shorter than this, or than the model's, is not worth having
/// all experts on the device.
inline constexpr std::int32_t kContextTokensMin = 8192;

struct Placement {
    std::int64_t weight_bytes = 0;        ///< tensors that are on the device as a whole
    std::int64_t expert_cache_bytes = 0;  ///< slots for experts that stay with the host
    std::int64_t cache_bytes = 0;         ///< keys and values
    std::int64_t graph_bytes = 0;
    /// Values, rounded activations, expert blocks and logits of one step, each with memory of its
    /// own: an upper bound where a backend lets values share it.
    std::int64_t workspace_bytes = 0;
    std::int64_t reserve_bytes = 0;
    std::int64_t host_bytes = 0;      ///< routed experts in the host's memory
    std::int64_t missing_bytes = 0;   ///< 0: it fits
    std::int32_t context_tokens = 0;  ///< of each sequence
    std::int32_t cache_tokens = 0;    ///< of all, a whole number of blocks
    /// By layer that has experts: how many of them the device holds at a time. All: the layer is
    /// there as a whole.
    std::vector<std::int32_t> expert_slots;
    /// The layers whose experts are on the host.
    std::vector<compute::HostExperts> host_experts;

    [[nodiscard]] std::int64_t device_bytes() const {
        return weight_bytes + expert_cache_bytes + cache_bytes + graph_bytes + workspace_bytes +
               reserve_bytes;
    }
};

/// `request.free_bytes` and all others at least 0, counts at least 1.   Thread: any.
Placement place(const Model& model, const PlacementRequest& request);

}  // namespace hearth::model
