// Kernels: the vector code of one instruction set as a table of functions over plain structs. This
// header is all that the instruction-set files share with the rest; it has no templates and no
// functions that the linker could keep in a copy compiled for a newer machine.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hearth::cpu {

/// The rounding of activations that a weight type's dot product takes. Each row is rounded alone,
/// in the same way for one token and for many.
enum class ActivationFormat : std::uint8_t {
    f32,   ///< as they are: for F32, F16 and BF16 weights
    q8,    ///< int8 with one scale per 32: for Q8_0, Q4_0, Q5_0, Q5_1, MXFP4
    q8_k,  ///< int8 with one scale per 256 and sums per 16: for Q4_K, Q5_K, Q6_K
};
inline constexpr int kActivationFormatCount = 3;

inline constexpr int kQ8Elements = 32;
inline constexpr int kQ8kElements = 256;
inline constexpr int kQ8kSumElements = 16;

/// A rounded row is made of groups of 256 elements, on cache lines; the last may be part-filled.
inline constexpr int kGroupElements = 256;

/// Eight blocks of q8. Blocks past the row's end have scale and sum 0.
struct alignas(64) Q8Group {
    std::int8_t quants[kGroupElements];
    float scales[kGroupElements / kQ8Elements];
    std::int32_t sums[kGroupElements / kQ8Elements];  ///< of the block's quants
};

/// Where 32 quants of either sign add up to no more, so do their products with numbers of four bits
/// to 16 bits.
inline constexpr int kRunSumMax = 32767 / 15;

/// One block of q8_k.
struct alignas(64) Q8kGroup {
    std::int8_t quants[kGroupElements];
    float scale;
    std::int16_t sums_32[kGroupElements / kQ8Elements];  ///< of the quants, for minima per 32
    /// Whether of no 32 the quants of one sign add up to more than kRunSumMax.
    bool fits_16_bits;
    std::int8_t unused[11];
    std::int16_t sums[kGroupElements / kQ8kSumElements];  ///< of the quants
};

static_assert(sizeof(Q8Group) == 320 && sizeof(Q8kGroup) == 320);

/// The types of weights in the order of Kernels::dot.
enum class WeightType : std::uint8_t {
    f32,
    f16,
    bf16,
    q8_0,
    q4_0,
    q5_0,
    q5_1,
    mxfp4,
    q4_k,
    q5_k,
    q6_k,
};
inline constexpr int kWeightTypeCount = 11;

/// Rows of weights that are laid out side by side for many tokens.
inline constexpr int kPanelRows = 16;
/// From so many tokens on, laying out costs less than it saves.
inline constexpr std::int64_t kPanelTokensMin = 8;
/// The largest Kernels::panel_tokens.
inline constexpr std::int64_t kPanelTokensMax = 128;
/// Scratch for 256 columns: of rows that are laid out, and of tokens where those are too. Only the
/// tile unit takes all of it.
inline constexpr std::int64_t kPanelBytes = 47616;

/// out[t * out_stride + r] = weights[r] . activations[t]. Each result depends on its row and its
/// activation only.
struct DotCall {
    const void* weights;  ///< (rows, dim), rows `row_bytes` apart, no alignment
    std::int64_t row_bytes;
    std::int64_t rows;
    const void* const* activations;  ///< (tokens) rows in the type's ActivationFormat
    std::int64_t tokens;
    std::int64_t dim;  ///< a multiple of the weight type's block
    float* out;
    std::int64_t out_stride;
    /// Scratch of kPanelBytes per group of 256 columns, on a cache line; null: row by row.
    void* panels = nullptr;
    /// Rows that are multiplied after these, which are asked for in time; null: those behind these.
    const void* next = nullptr;
};

/// How the rows of keys and values are stored, in the order of Kernels::store_row and attend.
enum class CacheType : std::uint8_t {
    f16,
    q8_0,  ///< blocks as in a GGUF file, the last of a row filled up with zeros
    f32,   ///< for comparisons with others
};
inline constexpr int kCacheTypeCount = 3;

/// Keys and values that one call of `attend` looks at: also the fixed number of tokens by which
/// attention is split.
inline constexpr int kAttendTokens = 16;
/// Query rows that one call of `attend` takes.
inline constexpr int kAttendRows = 32;

/// One step of online softmax: `rows` queries against `count` cached tokens.
struct AttendCall {
    const float* queries;  ///< (rows, key_dim)
    std::int64_t query_stride;
    std::int64_t rows;  ///< at most kAttendRows
    const std::int32_t*
        visible;       ///< (rows) how many of the tokens each row may see, from the first
    const void* keys;  ///< (count) rows, `key_row_bytes` apart
    std::int64_t key_row_bytes;
    std::int64_t key_column;  ///< the first of a row that is looked at
    std::int64_t key_dim;     ///< columns that are
    const void* values;       ///< (count) rows, `value_row_bytes` apart
    std::int64_t value_row_bytes;
    std::int64_t value_column;
    std::int64_t value_dim;
    std::int64_t count;  ///< at most kAttendTokens
    float scale;
    float* maxima;  ///< (rows) in and out
    float* sums;    ///< (rows) in and out
    float* out;     ///< (rows, value_dim) in and out: sums of weighted values, not yet divided
    std::int64_t out_stride;
    float* decoded;  ///< scratch of kAttendTokens * (key_dim + value_dim)
};

/// Tokens that one call of `mix` or `mix_rounded` looks at.
inline constexpr int kMixTokens = 32;
/// Rows of `mix` lie in lanes: strides and softmax states are multiples of this.
inline constexpr int kMixLanes = 16;

/// One step of online softmax over keys and values as floats: `rows` queries against `count`
/// tokens. Each row's result depends on its query, its state and the tokens it may see only; equal
/// on every machine with vectors.
struct MixCall {
    const float* queries;  ///< (key_dim, rows): turned; 0 from `rows` to the next kMixLanes
    std::int64_t query_stride;
    std::int64_t rows;            ///< at most kAttendRows
    const std::int32_t* visible;  ///< (rows) how many of the tokens each may see, from the first
    const float* keys;            ///< (count, key_dim)
    std::int64_t key_stride;
    std::int64_t key_dim;
    const float* values;  ///< (count, value_dim)
    std::int64_t value_stride;
    std::int64_t value_dim;
    std::int64_t count;  ///< at most kMixTokens
    float scale;
    float* maxima;  ///< (rows up to kMixLanes) in and out; finite where nothing has been seen
    float* sums;    ///< (rows up to kMixLanes) in and out
    float* out;     ///< (rows, value_dim) in and out: sums of weighted values, not yet divided
    std::int64_t out_stride;
    /// What will be read next, `ahead_bytes` each, is asked for while the products are computed.
    const std::byte* ahead[2] = {};
    std::int64_t ahead_bytes = 0;
    /// Instead of keys and values, for mix_rounded, whose queries are as round_queries left them:
    /// rounded blocks, each of kAttendTokens rows.
    const std::byte* blocks[2] = {};
    std::byte* widened = nullptr;  ///< scratch of widened_rows_bytes
};
static_assert(sizeof(MixCall{}.blocks) / sizeof(void*) == kMixTokens / kAttendTokens);

/// A row of a latent model's cache has two parts, what is mixed and what is rotated, since one may
/// be much larger than the other. Rounded, each is integers of 16 bits and a scale, and zeros up to
/// a multiple of so many columns.
inline constexpr int kMixParts = 2;
inline constexpr std::int64_t kRoundedColumns = 32;
constexpr std::int64_t to_rounded_columns(std::int64_t dim) {
    return (dim + kRoundedColumns - 1) / kRoundedColumns * kRoundedColumns;
}
/// Integers from one rounded row to the next.
constexpr std::int64_t rounded_row_stride(std::int64_t key_dim, std::int64_t value_dim) {
    return to_rounded_columns(value_dim) + to_rounded_columns(key_dim - value_dim);
}
/// kAttendTokens rows, and behind them (kMixParts, kAttendTokens) scales and as many sums: whole
/// cache lines.
constexpr std::int64_t rounded_block_bytes(std::int64_t key_dim, std::int64_t value_dim) {
    return kAttendTokens * (rounded_row_stride(key_dim, value_dim) +
                            kMixParts * std::int64_t{sizeof(float) + sizeof(std::int32_t)});
}
/// Of kMixTokens rows, where an instruction set multiplies no integers of 8 bits.
constexpr std::int64_t widened_rows_bytes(std::int64_t key_dim, std::int64_t value_dim) {
    return kMixTokens * rounded_row_stride(key_dim, value_dim) * std::int64_t{sizeof(std::int16_t)};
}
/// Rows of floats that round_queries needs for (key_dim) rows of queries, and that the tile unit
/// may look at.
constexpr std::int64_t rounded_query_rows(std::int64_t key_dim) {
    return key_dim + 8;
}

/// Queries of a latent model, rounded in place.
struct RoundQueriesCall {
    float* queries;       ///< (rounded_query_rows(key_dim), stride): turned, a row in each lane
    std::int64_t stride;  ///< a multiple of kMixLanes
    std::int64_t key_dim;
    std::int64_t value_dim;
};

/// A row of a latent model, to halves and then rounded: the key is all of it, the value its first
/// columns.
struct StoreRoundedCall {
    const float* row;
    std::int64_t key_dim;
    std::int64_t value_dim;
    std::int64_t slot;  ///< which row of the block
    std::byte* block;   ///< rounded_block_bytes
};

struct Kernels {
    const char* name;
    /// Tokens that a call of `dot` should have at most: few enough that they stay in the cache, and
    /// many, for what it costs to lay rows out for them.
    std::int64_t panel_tokens;
    void (*dot[kWeightTypeCount])(const DotCall& call);
    /// Indexed by ActivationFormat; f32 is null. dim is a multiple of the format's block.
    void (*quantise[kActivationFormatCount])(const float* x, std::int64_t dim, void* out);
    /// out = x / sqrt(mean(x^2) + epsilon) * weight; out may be x.
    void (*rms_norm)(
        const float* x, const float* weight, std::int64_t dim, float epsilon, float* out);
    /// out = silu(gate) * up; out may be either.
    void (*swiglu)(const float* gate, const float* up, std::int64_t dim, float* out);
    /// out = keep * out + factor * x.
    void (*combine)(float keep, const float* x, float factor, std::int64_t dim, float* out);
    /// Indexed by CacheType, as attend: a row of keys or values into the cache.
    void (*store_row[kCacheTypeCount])(const float* x, std::int64_t dim, void* out);
    /// For q8_0, key_column and value_column are multiples of 16.
    void (*attend[kCacheTypeCount])(const AttendCall& call);
    /// Indexed by CacheType: `count` rows of `dim` columns to floats, (count, dim).
    void (*decode_rows[kCacheTypeCount])(
        const void* rows, std::int64_t row_bytes, std::int64_t dim, std::int64_t count, float* out);
    void (*mix)(const MixCall& call);
    /// The same with queries, cached rows and weights rounded to eight bits, for models whose
    /// activations are rounded anyway.
    void (*mix_rounded)(const MixCall& call);
    void (*round_queries)(const RoundQueriesCall& call);
    void (*store_rounded)(const StoreRoundedCall& call);
};

extern const Kernels kScalarKernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kAvxVnniKernels;
extern const Kernels kAvx512Kernels;
/// AVX-512 with products for many tokens and latent attention on the tile unit. Call it where that
/// is supported.
Kernels make_amx_kernels();

}  // namespace hearth::cpu
