// Chunks of 32 weights, as matrix.h lays them out, in a thread's registers: as bytes for integer
// products and as floats. Every kernel that multiplies uses these, and adds a chunk to its sum by
// the one function add_chunk, so that kernels for one token and for many give the same bits.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/q8.cuh"

namespace hearth::cuda {

template <Format kFormat>
struct FormatTag {
    static constexpr Format value = kFormat;
};

/// Calls body(FormatTag) for a quantised format. The branch is the same in all threads of a block.
template <typename Body>
__device__ __forceinline__ void with_quantised(Format format, Body&& body) {
    switch (format) {
        case Format::q4_0:
            return body(FormatTag<Format::q4_0>{});
        case Format::q5_0:
            return body(FormatTag<Format::q5_0>{});
        case Format::q5_1:
            return body(FormatTag<Format::q5_1>{});
        case Format::q4_k:
            return body(FormatTag<Format::q4_k>{});
        case Format::q5_k:
            return body(FormatTag<Format::q5_k>{});
        case Format::q6_k:
            return body(FormatTag<Format::q6_k>{});
        case Format::mxfp4:
            return body(FormatTag<Format::mxfp4>{});
        default:
            return body(FormatTag<Format::q8_0>{});
    }
}

template <typename Body>
__device__ __forceinline__ void with_format(Format format, Body&& body) {
    switch (format) {
        case Format::f32:
            return body(FormatTag<Format::f32>{});
        case Format::f16:
            return body(FormatTag<Format::f16>{});
        case Format::bf16:
            return body(FormatTag<Format::bf16>{});
        default:
            return with_quantised(format, body);
    }
}

inline constexpr unsigned kChunksOfSuper = kSuperWeights / kChunkWeights;

constexpr bool has_fifth_bit(Format format) {
    return format == Format::q5_0 || format == Format::q5_1 || format == Format::q5_k;
}
constexpr bool has_header(Format format) {
    return format == Format::q4_k || format == Format::q5_k;
}
/// Whether a weight is scale * quant + low.
constexpr bool has_low(Format format) {
    return has_header(format) || format == Format::q5_1;
}
/// Bytes of each plane for kSuperWeights weights of a quantised type.
struct PlaneBytes {
    unsigned quants, high, scales, supers;
};
constexpr PlaneBytes super_bytes(Format format) {
    PlaneBytes bytes{128, 0, 16, 0};
    if (format == Format::q8_0) bytes.quants = 256;
    if (has_fifth_bit(format)) bytes.high = 32;
    if (format == Format::q5_1) bytes.scales = 32;
    if (format == Format::mxfp4) bytes.scales = 8;
    if (has_header(format)) bytes.scales = 0, bytes.supers = 16;
    if (format == Format::q6_k) bytes.high = 64, bytes.supers = 2;
    return bytes;
}
/// Bytes of a chunk in each plane; of `supers` for eight chunks.
struct ChunkBytes {
    int quants, high, scales, supers;
};
constexpr ChunkBytes chunk_bytes(Format format) {
    constexpr int kChunks = kSuperWeights / kChunkWeights;
    const PlaneBytes all = super_bytes(format);
    return {static_cast<int>(all.quants) / kChunks,
            static_cast<int>(all.high) / kChunks,
            static_cast<int>(all.scales) / kChunks,
            static_cast<int>(all.supers)};
}
/// What is taken from a quant, where it is not already.
constexpr int quant_offset(Format format) {
    return format == Format::q4_0 ? 8 : format == Format::q5_0 ? 16 : 0;
}

/// Twice the values of four E2M1 codes, one in the low half of each byte, by two look-ups in
/// registers: the first eight codes are not negative, the others are minus these.
__device__ __forceinline__ int doubled_e2m1(unsigned codes) {
    const unsigned selector = (codes & 0x7U) | ((codes >> 4) & 0x70U) | ((codes >> 8) & 0x700U) |
                              ((codes >> 12) & 0x7000U);
    const unsigned minus = ((codes >> 3) & 0x01010101U) * 0xFFU;
    const unsigned up = __byte_perm(0x03020100U, 0x0C080604U, selector);
    const unsigned down = __byte_perm(0xFDFEFF00U, 0xF4F8FAFCU, selector);
    return static_cast<int>((up & ~minus) | (down & minus));
}

/// Four weights each, as bytes: 4 t.. and 16 + 4 t.. of a chunk.
struct WordPair {
    int low, high;
};

/// What Q6_K's quants are larger by where they are not centred.
inline constexpr int kOffsetQ6K = 32;

/// From the words that hold them: quants[t] (Q8_0: and quants[t + 4]), high[0], high[1]. Q6_K's
/// are not centred.
template <Format kFormat>
__device__ __forceinline__ WordPair
unpack_bits(unsigned quants, unsigned quants_high, unsigned high0, unsigned high1, int t) {
    if constexpr (kFormat == Format::q8_0) {
        return {static_cast<int>(quants), static_cast<int>(quants_high)};
    } else if constexpr (kFormat == Format::mxfp4) {
        return {doubled_e2m1(quants & 0x0F0F0F0FU), doubled_e2m1((quants >> 4) & 0x0F0F0F0FU)};
    } else {
        unsigned low = quants & 0x0F0F0F0FU;
        unsigned high = (quants >> 4) & 0x0F0F0F0FU;
        if constexpr (has_fifth_bit(kFormat)) {
            low |= (high0 << (4 - t)) & 0x10101010U;
            high |= (high0 >> t) & 0x10101010U;
        } else if constexpr (kFormat == Format::q6_k) {
            const auto moved = [t](unsigned word) {
                return t < 2 ? word << (4 - 2 * t) : word >> (2 * t - 4);
            };
            low |= moved(high0) & 0x30303030U;
            high |= moved(high1) & 0x30303030U;
        }
        return {static_cast<int>(low), static_cast<int>(high)};
    }
}

/// Minus 32 in each byte; the top bit keeps borrows apart.
__device__ __forceinline__ int centred_q6k(int word) {
    return static_cast<int>(((static_cast<unsigned>(word) | 0x80808080U) - 0x20202020U) ^
                            0x80808080U);
}

/// The same, centred.
template <Format kFormat>
__device__ __forceinline__ WordPair
unpack_words(unsigned quants, unsigned quants_high, unsigned high0, unsigned high1, int t) {
    const WordPair bits = unpack_bits<kFormat>(quants, quants_high, high0, high1, t);
    if constexpr (kFormat != Format::q6_k) return bits;
    return {centred_q6k(bits.low), centred_q6k(bits.high)};
}

template <typename T>
__device__ __forceinline__ T load(const void* address) {
    return __ldg(static_cast<const T*>(address));
}

/// Whether pieces of four floats can be read at once.
__device__ __forceinline__ bool is_aligned(const float* x) {
    return reinterpret_cast<std::uintptr_t>(x) % sizeof(float4) == 0;
}

/// Where chunk `chunk` of row `row` stands among all chunks of a matrix.
__device__ __forceinline__ std::int64_t chunk_index(const Matrix& m, std::int64_t row, int chunk) {
    return row * (m.columns / kChunkWeights) + chunk;
}

/// The rows of a quantised matrix from `row` on, as a matrix of their own, whose chunks are counted
/// in 32 bits.
__device__ __forceinline__ Matrix rows_from(const Matrix& m, std::int64_t row) {
    const auto chunks = static_cast<std::uint64_t>(chunk_index(m, row, 0));
    const PlaneBytes bytes = super_bytes(m.format);
    Matrix at = m;
    at.quants += chunks * bytes.quants / kChunksOfSuper;
    at.high += chunks * bytes.high / kChunksOfSuper;
    at.scales += chunks * bytes.scales / kChunksOfSuper;
    at.supers += chunks * bytes.supers / kChunksOfSuper;
    return at;
}

/// Asks for the first rows of a quantised matrix: by one warp, a lane for each plane. Nothing where
/// experts lie apart, perhaps in the host's memory.
__device__ __forceinline__ void prefetch_rows(const Matrix& m, int rows) {
    if (m.experts.shifts != nullptr || warp_lane() > 3) return;
    const PlaneBytes all = super_bytes(m.format);
    const std::uint8_t* plane = m.quants;
    unsigned bytes = all.quants;
    if (warp_lane() == 1) plane = m.high, bytes = all.high;
    if (warp_lane() == 2) plane = m.scales, bytes = all.scales;
    if (warp_lane() == 3) plane = m.supers, bytes = all.supers;
    bytes = bytes * static_cast<unsigned>(chunk_index(m, rows, 0)) / kChunksOfSuper;
    // Whole pieces; what is left over comes with its neighbours or when it is read.
    constexpr unsigned kPiece = 16;
    plane -= reinterpret_cast<std::uintptr_t>(plane) % kPiece;
    if (bytes >= kPiece) prefetch(plane, bytes / kPiece * kPiece);
}

/// All words of one chunk.
template <Format kFormat>
struct RawChunk {
    unsigned quants[8];  ///< the last four: Q8_0 only
    unsigned high[2];

    __device__ __forceinline__ void read(const Matrix& m, std::int64_t index) {
        constexpr int kBytes = kFormat == Format::q8_0 ? 32 : 16;
        take(load<uint4>(m.quants + index * kBytes), quants);
        if constexpr (kFormat == Format::q8_0) {
            take(load<uint4>(m.quants + index * kBytes + 16), quants + 4);
        } else if constexpr (has_fifth_bit(kFormat)) {
            high[0] = load<unsigned>(m.high + index * 4);
        } else if constexpr (kFormat == Format::q6_k) {
            const uint2 words = load<uint2>(m.high + index * 8);
            high[0] = words.x;
            high[1] = words.y;
        }
    }
    __device__ __forceinline__ WordPair pair(int t) const {
        return unpack_words<kFormat>(
            quants[t], kFormat == Format::q8_0 ? quants[t + 4] : 0U, high_word(0), high_word(1), t);
    }
    /// As unpack_bits.
    __device__ __forceinline__ WordPair bits(int t) const {
        return unpack_bits<kFormat>(
            quants[t], kFormat == Format::q8_0 ? quants[t + 4] : 0U, high_word(0), high_word(1), t);
    }

  private:
    static __device__ __forceinline__ void take(uint4 words, unsigned* out) {
        out[0] = words.x;
        out[1] = words.y;
        out[2] = words.z;
        out[3] = words.w;
    }
    [[nodiscard]] __device__ __forceinline__ unsigned high_word(int i) const {
        constexpr int kWords = has_fifth_bit(kFormat) ? 1 : kFormat == Format::q6_k ? 2 : 0;
        return i < kWords ? high[i] : 0U;
    }
};

/// A weight of the chunk is scale * (quant - offset) + low; Q6_K: scale * half[weight / 16] *
/// quant.
struct ChunkScales {
    float scale;
    float low;
    int half[2];
};

/// The 6-bit scale and minimum of chunk `j` of a super-block from its three words.
__device__ __forceinline__ ChunkScales header_scales(uint4 header, int j) {
    const int shift = 8 * (j & 3);
    const unsigned a = header.y >> shift;
    const unsigned b = header.z >> shift;
    const unsigned c = header.w >> shift;
    const bool is_first = j < 4;
    const unsigned scale = is_first ? a & 63U : (c & 15U) | ((a >> 2) & 48U);
    const unsigned minimum = is_first ? b & 63U : ((c >> 4) & 15U) | ((b >> 2) & 48U);
    const float d = half_to_float(static_cast<std::uint16_t>(header.x & 0xFFFFU));
    const float dmin = half_to_float(static_cast<std::uint16_t>(header.x >> 16));
    return {d * static_cast<float>(scale), -dmin * static_cast<float>(minimum), {0, 0}};
}

/// As compute::half_scale_of_e8m0, which is the host's.
__device__ __forceinline__ float half_scale_of_e8m0(unsigned exponent) {
    return __uint_as_float(exponent < 2 ? 0x00200000U << exponent : (exponent - 1U) << 23);
}

template <Format kFormat>
__device__ __forceinline__ ChunkScales load_scales(const Matrix& m, std::int64_t index) {
    // Without a sign the division is a shift.
    const auto super = static_cast<std::uint64_t>(index) / kChunksOfSuper;
    if constexpr (has_header(kFormat)) {
        return header_scales(load<uint4>(m.supers + super * 16),
                             static_cast<int>(static_cast<unsigned>(index) % kChunksOfSuper));
    } else if constexpr (kFormat == Format::q6_k) {
        const auto halves = load<std::uint16_t>(m.scales + index * 2);
        const auto d = load<std::uint16_t>(m.supers + super * 2);
        return {half_to_float(d),
                0.0F,
                {static_cast<std::int8_t>(halves & 0xFF), static_cast<std::int8_t>(halves >> 8)}};
    } else if constexpr (kFormat == Format::q5_1) {
        const auto both = load<unsigned>(m.scales + index * 4);
        return {half_to_float(static_cast<std::uint16_t>(both & 0xFFFFU)),
                half_to_float(static_cast<std::uint16_t>(both >> 16)),
                {0, 0}};
    } else if constexpr (kFormat == Format::mxfp4) {
        return {half_scale_of_e8m0(load<std::uint8_t>(m.scales + index)), 0.0F, {0, 0}};
    } else {
        return {half_to_float(load<std::uint16_t>(m.scales + index * 2)), 0.0F, {0, 0}};
    }
}

/// Adds a chunk's product to a sum. The order of these operations is what all kernels share.
///   d, x_sum   of the activations' block   dot   the integer product
template <Format kFormat>
__device__ __forceinline__ float add_scaled(
    float sum, const ChunkScales& w, float d, float x_sum, float dot) {
    sum = __fmaf_rn(w.scale * d, dot, sum);
    if constexpr (has_low(kFormat)) sum = __fmaf_rn(w.low * d, x_sum, sum);
    return sum;
}

/// The same from the integer products of the chunk's halves.
template <Format kFormat>
__device__ __forceinline__ float add_chunk(
    float sum, const ChunkScales& w, const Q8Scale& x, int low, int high) {
    int dot = low + high;
    if constexpr (kFormat == Format::q6_k) dot = w.half[0] * low + w.half[1] * high;
    if constexpr (quant_offset(kFormat) != 0) dot -= quant_offset(kFormat) * x.sum;
    return add_scaled<kFormat>(sum, w, x.d, static_cast<float>(x.sum), static_cast<float>(dot));
}

/// Weights that a thread decodes to floats at once: a chunk, or 16 bytes of halves.
template <Format kFormat>
inline constexpr int kFloatChunk = is_quantised(kFormat) ? kChunkWeights : 8;

template <Format kFormat>
__device__ __forceinline__ float float_weight(const Matrix& m, std::int64_t index) {
    if constexpr (kFormat == Format::f32) {
        return load<float>(m.quants + index * 4);
    } else {
        const auto bits = load<std::uint16_t>(m.quants + index * 2);
        return kFormat == Format::f16 ? half_to_float(bits) : bf16_to_float(bits);
    }
}

/// Eight floats from a place whose row is a whole number of eights.
template <Format kFormat>
__device__ __forceinline__ void read_floats(const Matrix& m, std::int64_t index, float (&out)[8]) {
    if constexpr (kFormat == Format::f32) {
        const auto first = load<float4>(m.quants + index * 4);
        const auto second = load<float4>(m.quants + index * 4 + 16);
        const float values[8] = {
            first.x, first.y, first.z, first.w, second.x, second.y, second.z, second.w};
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            out[i] = values[i];
        }
    } else {
        const auto words = load<uint4>(m.quants + index * 2);
        const unsigned pairs[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            const auto bits =
                static_cast<std::uint16_t>((pairs[i / 2] >> (16 * (i % 2))) & 0xFFFFU);
            out[i] = kFormat == Format::f16 ? half_to_float(bits) : bf16_to_float(bits);
        }
    }
}

__device__ __forceinline__ float signed_byte(int word, int i) {
    return static_cast<float>(static_cast<std::int8_t>(static_cast<unsigned>(word) >> (8 * i)));
}

/// Decodes chunk `chunk` (of kFloatChunk weights) of a row; zero beyond the row's end.
template <Format kFormat>
__device__ __forceinline__ void decode_floats(const Matrix& m,
                                              std::int64_t row,
                                              int chunk,
                                              float (&out)[kFloatChunk<kFormat>]) {
    if constexpr (!is_quantised(kFormat)) {
        const int first = chunk * kFloatChunk<kFormat>;
        if (m.columns % kFloatChunk<kFormat> == 0) {
            read_floats<kFormat>(m, row * m.columns + first, out);
            return;
        }
#pragma unroll
        for (int i = 0; i < kFloatChunk<kFormat>; ++i) {
            const bool is_inside = first + i < m.columns;
            out[i] = is_inside ? float_weight<kFormat>(m, row * m.columns + first + i) : 0.0F;
        }
    } else {
        RawChunk<kFormat> raw;
        raw.read(m, chunk_index(m, row, chunk));
        const ChunkScales scales = load_scales<kFormat>(m, chunk_index(m, row, chunk));
        constexpr bool kHasHalves = kFormat == Format::q6_k;
        const float steps[2] = {
            kHasHalves ? scales.scale * static_cast<float>(scales.half[0]) : scales.scale,
            kHasHalves ? scales.scale * static_cast<float>(scales.half[1]) : scales.scale};
        constexpr auto kOffset = static_cast<float>(quant_offset(kFormat));
#pragma unroll
        for (int t = 0; t < 4; ++t) {
            const WordPair words = raw.pair(t);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                out[4 * t + i] = steps[0] * (signed_byte(words.low, i) - kOffset) + scales.low;
                out[16 + 4 * t + i] =
                    steps[1] * (signed_byte(words.high, i) - kOffset) + scales.low;
            }
        }
    }
}

}  // namespace hearth::cuda
