// Plan: the forward pass of one model as data. A flat list of operations, as coarse as the field's
// well-known kernels (one attention, one expert block), over named values with explicit shapes.
// core/model records it; a Backend compiles it; nothing else knows an architecture. Letters in
// shapes: tokens = tokens in the step, at most `tokens_max`. What an operation writes shares no
// columns with what it reads, except where its comment says "may be" (then all of the slice).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/base/result.h"
#include "core/compute/dtype.h"
#include "core/compute/tensor.h"

namespace hearth::compute {

/// An activation of shape (tokens, dim), written by one operation and read by later ones.
using ValueId = std::int32_t;
/// An index into the weights that the Plan is compiled with.
using WeightId = std::int32_t;
inline constexpr std::int32_t kNone = -1;

struct Value {
    std::string name;
    std::int64_t dim = 0;      ///< columns
    Dtype dtype = Dtype::f32;  ///< f32, or i32 for expert numbers
};

/// Some columns of a value: [offset, offset + dim) of each row. Rows lie `plan.values[id].dim`
/// elements apart.
struct Slice {
    ValueId id = kNone;
    std::int64_t offset = 0;
    std::int64_t dim = 0;
};

/// out[t] = scale * table[token[t]].   table (vocab_size, out.dim) any type; out f32.
struct Embed {
    WeightId table;
    Slice out;
    float scale = 1.0F;
};

/// Each run of `group_dim` columns of x is divided by its root mean square and multiplied by weight
/// (group_dim) f32. x and out have the same dim, a multiple of group_dim; out may be x.   Source:
/// Zhang and Sennrich, arXiv:1910.07467.
struct RmsNorm {
    Slice x;
    WeightId weight;
    Slice out;
    std::int64_t group_dim;
    float epsilon;
};

/// out = x * transpose(weight) [+ bias] [+ residual].   weight (out.dim, x.dim) any type; bias
/// (out.dim) f32; residual has out's dim and may be out.
struct Project {
    Slice x;
    WeightId weight;
    Slice out;
    WeightId bias = kNone;
    Slice residual = {};
};

enum class RopeStyle {
    interleaved,  ///< pairs are (2i, 2i+1): GGUF's NORM
    halves,       ///< pairs are (i, i + dims/2): GGUF's NEOX
};

/// Rotates, in each of the `heads` runs of `head_dim` columns of x, the columns [rotate_offset,
/// rotate_offset + 2 * F) in place by position * frequencies[i], F = frequencies.size(); cosine and
/// sine are multiplied by `magnitude`. Source: Su et al., arXiv:2104.09864; frequency scaling
/// (YaRN) is the recorder's part.
struct Rope {
    Slice x;
    std::int64_t heads;
    std::int64_t head_dim;
    std::int64_t rotate_offset;
    RopeStyle style;
    std::vector<float> frequencies;
    float magnitude = 1.0F;
};

/// Grouped-query attention of the step's tokens over their sequence so far, themselves included;
/// first stores k and v in the cache of `layer`.   q (tokens, heads * head_dim), k (tokens,
/// kv_heads * head_dim), v (tokens, kv_heads * value_dim), out (tokens, heads * value_dim); scores
/// are multiplied by `scale`.
struct AttentionGqa {
    Slice q, k, v, out;
    std::int32_t layer;
    std::int64_t heads, kv_heads, head_dim, value_dim;
    float scale;
};

/// Multi-head latent attention; first stores `latent` in the cache of `layer`. Where `out` has no
/// value nothing else is done: a step that only leaves its rows; q, k_up and v_up are not there.
///   q       (tokens, heads * (nope_dim + rope_dim))  the last rope_dim columns of each head are
///   rotated latent  (tokens, latent_dim + rope_dim)          normed latent, then the shared
///   rotated key k_up    (heads, latent_dim, nope_dim) any type   key_nope[h] = latent * k_up[h]
///   (absorbed: q_nope times rows) v_up    (heads, value_dim, latent_dim) any type  value[h] =
///   latent * transpose(v_up[h]) out     (tokens, heads * value_dim)
/// score[h] = scale * (q_nope . key_nope + q_rope . key_rope).   Source: DeepSeek-V2,
/// arXiv:2405.04434, section 2.1.
struct AttentionMla {
    Slice q, latent, out;
    WeightId k_up, v_up;
    std::int32_t layer;
    std::int64_t heads, nope_dim, rope_dim, latent_dim, value_dim;
    float scale;
};

enum class Gating { softmax, sigmoid };

/// Picks the experts for each token: best scores first, ties to the lower index.
///   logits   (tokens, expert_count) f32        bias (expert_count) f32, or kNone: added for the
///   choice only experts  (tokens, experts_per_token) i32   weights (tokens, experts_per_token) f32
/// With group_count > 1 only the `groups_used` groups with the largest sum of their two best
/// (biased) scores take part. `normalise` divides by the sum of the chosen weights (floored at
/// kWeightSumMin); then all are multiplied by `scale`. Source: DeepSeek-V3, arXiv:2412.19437,
/// section 2.1.2.
struct RouteTopK {
    static constexpr float kWeightSumMin = 6.103515625e-5F;  ///< the smallest normal half

    Slice logits, experts, weights;
    WeightId bias = kNone;
    Gating gating;
    bool normalise;
    float scale = 1.0F;
    std::int64_t group_count = 1, groups_used = 1;
};

/// out = sum over the chosen experts of weight * down[e](silu(gate[e](x)) * up[e](x)) [+ residual].
///   gate, up (expert_count, ffn_dim, x.dim)   down (expert_count, out.dim, ffn_dim)   any type
/// residual has out's dim and may be out.
struct Experts {
    Slice x, experts, weights, out;
    WeightId gate, up, down;
    Slice residual = {};
};

/// out = silu(gate) * up, all of one dim; out may be gate or up.
struct Swiglu {
    Slice gate, up, out;
};

/// out = a + b, all of one dim; out may be a or b.
struct Add {
    Slice a, b, out;
};

/// For the rows that the step asks for: logits = scale * (x * transpose(weight)).   weight
/// (vocab_size, x.dim) any type. The last operation of a Plan; the result leaves the Program as
/// StepOutput::logits.
struct Logits {
    Slice x;
    WeightId weight;
    float scale = 1.0F;
};

using Operation = std::variant<Embed,
                               RmsNorm,
                               Project,
                               Rope,
                               AttentionGqa,
                               AttentionMla,
                               RouteTopK,
                               Experts,
                               Swiglu,
                               Add,
                               Logits>;

/// How a layer's cache rows look; one row per token and layer, in the order of the operations'
/// `layer` numbers.
struct KvLayout {
    std::int32_t layer_count = 0;
    std::int64_t key_dim =
        0;  ///< elements of the key row: kv_heads * head_dim, or latent_dim + rope_dim for MLA
    std::int64_t value_dim =
        0;  ///< elements of the value row; 0 for MLA, whose values are part of the key row
    /// f16; q8_0: blocks of 32 from the row's start, each with a scale of its own, the last one
    /// filled up with zeros; or f32. Not every Backend has all (see Backend::has_cache_type).
    Dtype dtype = Dtype::f16;
    /// Columns of a key row that are its value too, where all weights that queries meet on their
    /// way to the keys are quantised, so that queries are rounded anyway; else 0. A Backend may
    /// then keep rows of f16 or q8_0 as integers of 8 bits, with a scale for these columns and one
    /// for the others.
    std::int64_t rounded_latent_dim = 0;
    friend bool operator==(const KvLayout&, const KvLayout&) = default;
};

/// A recorded forward pass. Immutable once recorded; a value; printable.
struct Plan {
    std::int32_t tokens_max = 0;
    /// Of a sequence: what a Backend makes ready for. Longer ones give the same numbers, but may
    /// take more time.
    std::int32_t positions_max = 0;
    std::int64_t vocab_size = 0;
    KvLayout kv;
    std::vector<Value> values;
    std::vector<Operation> operations;
    /// F32 values, whole, or none: filled from StepBatch::rows before the first operation, and what
    /// StepOutput::rows has of all tokens after the last one. Only where Backend::passes_rows().
    Slice rows_in, rows_out;

    /// Adds a value of `dim` columns and returns it whole.
    Slice add_value(std::string name, std::int64_t dim, Dtype dtype = Dtype::f32);
};

/// Checks what every Backend relies on: ids in range, slices inside their values, dims that fit
/// each other and the weights' shapes, as many bytes as a weight's shape says, layers inside the
/// cache and stored once, values written before they are read, expert numbers from a router of as
/// many experts, one Logits at the end.   Errors: invalid_argument, naming the operation.
Result<void> validate(const Plan& plan, std::span<const Tensor> weights);

/// Columns of a head are a multiple of this in a cache of Q8_0: what vector code reads at once lies
/// in one block.
inline constexpr std::int64_t kQuantisedHeadStep = 16;

/// Bytes of a cache row of `dim` elements.
std::int64_t cache_row_bytes(Dtype dtype, std::int64_t dim);

/// Bytes that one token takes in the cache, in all layers.
std::int64_t cache_bytes_per_token(const KvLayout& layout);

/// Bytes of weights that one token alone reads, as they are stored: one row of an embedding table,
/// the chosen experts, everything else whole.   `plan` has passed validate() with `weights`.
std::int64_t weight_bytes_per_token(const Plan& plan, std::span<const Tensor> weights);

/// "project", "attention_mla": what an operation is called in texts.
std::string_view operation_name(const Operation& operation);

/// One line per operation with names and shapes, for people and tests.
std::string to_string(const Plan& plan, std::span<const Tensor> weights);

}  // namespace hearth::compute
