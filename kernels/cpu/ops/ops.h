// One maker per operation; each lives in a file of its own. Shapes and formulas:
// core/compute/plan.h.
#pragma once

#include <memory>
#include <utility>

#include "core/compute/plan.h"
#include "core/compute/tensor.h"
#include "kernels/cpu/op.h"

namespace hearth::cpu {

/// The columns of a Plan's value; all value types have four bytes.
inline Place place_of(const compute::Slice& slice) {
    constexpr std::int64_t kElementBytes = 4;
    return {slice.id, slice.offset * kElementBytes, slice.dim * kElementBytes};
}

std::unique_ptr<TokenOp> make_embed(const compute::Embed& op, const compute::Tensor& table);
/// Plan::rows_in and rows_out.
std::unique_ptr<TokenOp> make_rows_in(const compute::Slice& rows);
std::unique_ptr<TokenOp> make_rows_out(const compute::Slice& rows);
std::unique_ptr<TokenOp> make_rms_norm(const compute::RmsNorm& op, const compute::Tensor& weight);
std::unique_ptr<TokenOp> make_swiglu(const compute::Swiglu& op);
std::unique_ptr<TokenOp> make_add(const compute::Add& op);
/// `bias` may be null.
std::unique_ptr<TokenOp> make_route_top_k(const compute::RouteTopK& op,
                                          const compute::Tensor* bias);

/// Rounds `runs` runs of `dim` floats of x; run i goes to byte i * activation_stride(format, dim)
/// of `rounded`.
struct Quantise {
    Place x;
    ActivationFormat format;
    std::int64_t runs;
    std::int64_t dim;
    Place rounded;
};
std::unique_ptr<TokenOp> make_quantise(const Quantise& op);

/// The cosines and sines of a step's positions: (pairs) cosines, then (pairs) sines. All Ropes with
/// the same frequencies and magnitude share them.
std::unique_ptr<TokenOp> make_rope_angles(const compute::Rope& op, const Place& angles);
std::unique_ptr<TokenOp> make_rope(const compute::Rope& op, const Place& angles);

/// `rounded` is x in the form that the weight wants (x itself for floats); `bias` may be null.
std::unique_ptr<ParallelOp> make_project(const compute::Project& op,
                                         const Place& rounded,
                                         const compute::Tensor& weight,
                                         const compute::Tensor* bias);
std::unique_ptr<ParallelOp> make_logits(const compute::Logits& op,
                                        const Place& rounded,
                                        const compute::Tensor& weight);

/// Two Projects of one x and the Swiglu of both, without what lies between them.
struct GateUp {
    const compute::Tensor& gate;
    const compute::Tensor& up;
    Place rounded_x_gate;
    Place rounded_x_up;
    Place out;
};
std::unique_ptr<ParallelOp> make_gate_up(const GateUp& op);

/// An expert block is two parallel operations with a rounding between them: first
/// silu(gate(x)) * up(x) of every chosen expert into `hidden`, (experts_per_token, ffn_dim) floats
/// a token; then the weighted sum of down over `rounded_hidden`.
struct ExpertsPlaces {
    Place rounded_x_gate;
    Place rounded_x_up;
    Place hidden;
    Place rounded_hidden;
};
struct ExpertsTensors {
    const compute::Tensor& gate;
    const compute::Tensor& up;
    const compute::Tensor& down;
};
struct ExpertsOps {
    std::unique_ptr<ParallelOp> up;
    std::unique_ptr<ParallelOp> down;
};
ExpertsOps make_experts(const compute::Experts& op,
                        const ExpertsPlaces& places,
                        const ExpertsTensors& tensors,
                        std::int64_t tokens_max);

/// Attention is two operations: the step's keys and values go to the cache, then the tokens attend.
/// `cache` is a place without memory that stands for the layer's rows.
struct AttentionOps {
    std::unique_ptr<TokenOp> store;
    std::unique_ptr<ParallelOp> attend;
};
AttentionOps make_attention_gqa(const compute::AttentionGqa& op,
                                const Place& cache,
                                std::int64_t tokens_max);
/// What the layers of latent attention, which are all alike, share; `place` stands for it.
class LatentWork;
struct SharedLatentWork {
    std::shared_ptr<LatentWork> work;
    Place place;
};
/// The first of the two alone.
std::unique_ptr<TokenOp> make_store_latent(const compute::AttentionMla& op, const Place& cache);
std::shared_ptr<LatentWork> make_latent_work(const compute::AttentionMla& op);
AttentionOps make_attention_mla(const compute::AttentionMla& op,
                                const Place& cache,
                                const compute::Tensor& k_up,
                                const compute::Tensor& v_up,
                                const SharedLatentWork& work);

}  // namespace hearth::cpu
