// A weight as the device holds it: planes instead of the file's blocks, so that a warp reads
// aligned 16-byte pieces. Quantised types are cut into chunks of 32 weights of a row:
//
//   quants   16 bytes a chunk: byte i holds weight i low and weight i + 16 high; Q8_0: 32 bytes,
//            one weight each; floats: as in the file
//   high     the bits above four. Q5: one word, bit 8 b + w is of weight 4 w + b. Q6_K: two words
//   of
//            two-bit fields, field at bit 8 b + 2 t of word h is of weight 16 h + 4 t + b
//   scales   MXFP4: the exponent, one byte; Q4_0, Q5_0, Q8_0: half d; Q5_1: half d, half m; Q6_K:
//   two int8, one per 16 weights supers   one per 256 weights. Q4_K, Q5_K: the 16 bytes d, dmin,
//   scales as in the file; Q6_K:
//            half d
//
// No type grows. Each plane is row-major and starts at a multiple of kPlaneAlignment.
#pragma once

#include <cstdint>

namespace hearth::cuda {

enum class Format : std::uint8_t {
    f32,
    f16,
    bf16,
    q8_0,
    q4_0,
    q5_0,
    q5_1,
    q4_k,
    q5_k,
    q6_k,
    mxfp4
};

inline constexpr int kChunkWeights = 32;
inline constexpr int kSuperWeights = 256;
inline constexpr std::int64_t kPlaneAlignment = 256;

constexpr bool is_quantised(Format format) {
    return format >= Format::q8_0;
}

constexpr bool is_half(Format format) {
    return format == Format::f16 || format == Format::bf16;
}

/// Of a tensor whose experts lie apart, in slots of the device or in the host's memory, where the
/// device reads them over the bus. Device memory that changes between steps; null: the experts
/// follow each other.
struct ExpertTable {
    const std::int64_t* shifts =
        nullptr;                   ///< by expert: bytes from where Matrix points to its rows
    std::uint8_t* used = nullptr;  ///< by expert: 1 where the step has used it
};

/// Borrowed device memory; plain, so that kernels take it by value.
struct Matrix {
    const std::uint8_t* quants = nullptr;
    const std::uint8_t* high = nullptr;
    const std::uint8_t* scales = nullptr;
    const std::uint8_t* supers = nullptr;
    std::int32_t columns = 0;
    Format format = Format::f32;
    ExpertTable experts = {};
};

/// Whether the tensor cores can multiply a matrix of halves by floats: whole chunks of 32 columns,
/// so that rows are read in 16-byte pieces. A device without BF16 leaves these to the mat-vec.
constexpr bool fits_half_tile(const Matrix& m, bool has_bf16) {
    return is_half(m.format) && m.columns % kChunkWeights == 0 &&
           (m.format == Format::f16 || has_bf16);
}

/// Activations rounded to eight bits in blocks of 32: value = d * quant.
struct Q8Scale {
    float d;
    std::int32_t sum;  ///< of the block's quants
};
struct Q8Rows {
    std::int8_t* quants = nullptr;  ///< (rows, columns)
    Q8Scale* scales = nullptr;      ///< (rows, columns / 32)
    std::int32_t columns = 0;
};

/// Those from `row` on.
constexpr Q8Rows rows_from(const Q8Rows& rows, std::int64_t row) {
    if (rows.quants == nullptr) return rows;
    return {rows.quants + row * rows.columns,
            rows.scales + row * rows.columns / kChunkWeights,
            rows.columns};
}

/// Columns of a row that every block norms again; a wider one takes longer than a kernel of its
/// own.
inline constexpr std::int32_t kNormInputMax = 4096;

/// A row that a kernel norms by itself: x / rms(x) * weight. x null: its input is normed already.
struct NormInput {
    const float* x = nullptr;       ///< aligned to 16, as is the weight
    const float* weight = nullptr;  ///< (dim)
    std::int32_t dim = 0;           ///< a multiple of 32, at most kNormInputMax
    float epsilon = 0.0F;
};

/// Columns of an activation: rows lie `stride` floats apart.
struct FloatRows {
    float* data = nullptr;
    std::int64_t stride = 0;
};
/// Those from `row` on.
constexpr FloatRows rows_from(const FloatRows& rows, std::int64_t row) {
    return {rows.data == nullptr ? nullptr : rows.data + row * rows.stride, rows.stride};
}

}  // namespace hearth::cuda
