// How rows of weights are laid out in a panel: eight rows at a time in 256-bit registers, for every
// vector instruction set. Sixteen bytes of each row are turned, so that four bytes of all of them
// lie side by side, before they are taken apart. Included by panel.h alone; internal linkage.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/simd/dot_quantised.h"

namespace hearth::cpu {
namespace {

/// 256 columns of sixteen rows.
struct alignas(64) Panel {
    std::int8_t quants[kRunsPerGroup][kStepsPerRun][kPanelRows][4];
    std::int16_t scales[2 * kRunsPerGroup][kPanelRows][2];  ///< of the K types, each twice
    std::int16_t offsets[kRunsPerGroup][kPanelRows][2];     ///< of the K types: times sums of x
    float d[kRunsPerGroup][kPanelRows];  ///< by block; of the K types d, then dmin
    float m[kRunsPerGroup][kPanelRows];  ///< by block, of Q5_1
};
static_assert(sizeof(Panel) <= kPanelBytes);

constexpr int kHalfRows = kPanelRows / 2;

inline void store_32(void* p, __m256i a) {
    _mm256_store_si256(static_cast<__m256i*>(p), a);
}

/// Four bytes of each of eight rows, in order.
using FourBytes = __m256i;
constexpr int kTurnedBytes = 16;

/// The blocks of eight rows that lie evenly spaced.
template <typename Block>
struct RowBlocks {
    const Block* first;
    std::int64_t row_bytes;

    [[gnu::always_inline]] const Block* operator[](int r) const {
        return reinterpret_cast<const Block*>(reinterpret_cast<const char*>(first) + r * row_bytes);
    }
};

/// The sixteen bytes at `at(r)` of eight rows, by fours.
template <typename At>
inline void load_turned(const At& at, FourBytes* to) {
    __m256i rows[4];
    for (int r = 0; r < 4; ++r) {
        rows[r] =
            _mm256_inserti128_si256(_mm256_castsi128_si256(load_16(at(r))), load_16(at(r + 4)), 1);
    }
    const __m256i low[2] = {_mm256_unpacklo_epi32(rows[0], rows[1]),
                            _mm256_unpacklo_epi32(rows[2], rows[3])};
    const __m256i high[2] = {_mm256_unpackhi_epi32(rows[0], rows[1]),
                             _mm256_unpackhi_epi32(rows[2], rows[3])};
    to[0] = _mm256_unpacklo_epi64(low[0], low[1]);
    to[1] = _mm256_unpackhi_epi64(low[0], low[1]);
    to[2] = _mm256_unpacklo_epi64(high[0], high[1]);
    to[3] = _mm256_unpackhi_epi64(high[0], high[1]);
}

/// The four bytes at `at(r)` of eight rows.
template <typename At>
inline FourBytes load_fours(const At& at) {
    const auto load = [&](int r) {
        int bytes = 0;
        __builtin_memcpy(&bytes, at(r), sizeof bytes);
        return bytes;
    };
    return _mm256_setr_epi32(
        load(0), load(1), load(2), load(3), load(4), load(5), load(6), load(7));
}

/// A half of each of eight rows, as floats. They are inserted one by one: a vector that is set
/// takes g++ more instructions.
template <typename HalfOf>
inline __m256 load_halves(const HalfOf& half_of) {
    __m128i halves = _mm_cvtsi32_si128(half_of(0));
    halves = _mm_insert_epi16(halves, half_of(1), 1);
    halves = _mm_insert_epi16(halves, half_of(2), 2);
    halves = _mm_insert_epi16(halves, half_of(3), 3);
    halves = _mm_insert_epi16(halves, half_of(4), 4);
    halves = _mm_insert_epi16(halves, half_of(5), 5);
    halves = _mm_insert_epi16(halves, half_of(6), 6);
    halves = _mm_insert_epi16(halves, half_of(7), 7);
    return _mm256_cvtph_ps(halves);
}

/// Bytes of each row's four, by their places; kNone is 0.
constexpr int kNone = -1;
inline __m256i shuffle_fours(FourBytes fours, int first, int second, int third, int fourth) {
    const auto bytes_of = [&](int lane) {
        const auto byte = [&](int place) {
            return place == kNone ? 0x80U : static_cast<unsigned>(place + 4 * lane);
        };
        return static_cast<int>(byte(first) | byte(second) << 8 | byte(third) << 16 |
                                byte(fourth) << 24);
    };
    const __m128i four_rows = _mm_setr_epi32(bytes_of(0), bytes_of(1), bytes_of(2), bytes_of(3));
    return _mm256_shuffle_epi8(fours, _mm256_broadcastsi128_si256(four_rows));
}

/// `kBits` bits of each byte from bit `first` on, moved to bit `to`.
template <int kBits, int kTo>
inline __m256i bits_of(__m256i bytes, int first) {
    constexpr int kMask = ((1 << kBits) - 1) << kTo;
    const __m256i moved = first >= kTo ? _mm256_srl_epi16(bytes, _mm_cvtsi32_si128(first - kTo))
                                       : _mm256_sll_epi16(bytes, _mm_cvtsi32_si128(kTo - first));
    return _mm256_and_si256(moved, _mm256_set1_epi8(kMask));
}

// ---- types of 32-blocks: the quants of block `b` of eight rows

inline void load_quants(const RowBlocks<BlockQ80>& rows, int b, FourBytes* steps) {
    load_turned([&](int r) { return rows[r][b].quants; }, steps);
    load_turned([&](int r) { return rows[r][b].quants + kTurnedBytes; }, steps + 4);
}

/// The first sixteen columns are in the low nibbles, the others in the high ones.
template <typename Block>
inline void load_nibbles(const RowBlocks<Block>& rows, int b, FourBytes* steps) {
    FourBytes bytes[4];
    load_turned([&](int r) { return rows[r][b].quants; }, bytes);
    for (int i = 0; i < 4; ++i) {
        steps[i] = bits_of<4, 0>(bytes[i], 0);
        steps[4 + i] = bits_of<4, 0>(bytes[i], 4);
    }
}

inline void load_quants(const RowBlocks<BlockQ40>& rows, int b, FourBytes* steps) {
    load_nibbles(rows, b, steps);
}
inline void load_quants(const RowBlocks<BlockMxfp4>& rows, int b, FourBytes* steps) {
    load_nibbles(rows, b, steps);
    for (int step = 0; step < kStepsPerRun; ++step) {
        steps[step] = _mm256_shuffle_epi8(Mxfp4::table(), steps[step]);
    }
}

/// Q5_0 and Q5_1: the fifth bits of a row are together, one for each column.
template <typename Block>
inline void load_quants(const RowBlocks<Block>& rows, int b, FourBytes* steps) {
    load_nibbles(rows, b, steps);
    // A byte has those of two steps; an even one's are moved to where an odd one's are.
    const FourBytes odd = load_fours([&](int r) { return rows[r][b].high; });
    const FourBytes even = _mm256_slli_epi16(odd, 4);
    const __m256i mask = _mm256_set1_epi32(static_cast<int>(0x80402010));
#pragma GCC unroll 8
    for (int step = 0; step < kStepsPerRun; ++step) {
        const int byte = step / 2;
        const __m256i bits = shuffle_fours(step % 2 == 0 ? even : odd, byte, byte, byte, byte);
        const __m256i fifth = _mm256_min_epu8(_mm256_and_si256(bits, mask), _mm256_set1_epi8(0x10));
        steps[step] = _mm256_or_si256(steps[step], fifth);
    }
}

template <typename Block>
inline __m256 load_factors(const RowBlocks<Block>& rows, int b) {
    return load_halves([&](int r) { return rows[r][b].d; });
}
inline __m256 load_factors(const RowBlocks<BlockMxfp4>& rows, int b) {
    const auto at = [&](int r) { return factor_bits_of(rows[r][b]); };
    return _mm256_castsi256_ps(
        _mm256_setr_epi32(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)));
}

/// Some blocks of eight rows. `kAdded`: what a panel's quants are larger by than the type's.
template <typename Type, int kAdded>
inline void store_blocks(const RowBlocks<typename Type::Block>& rows,
                         int blocks,
                         int first_row,
                         Panel& panel) {
    const __m256i added = _mm256_set1_epi8(static_cast<char>(kAdded));
    for (int b = 0; b < blocks; ++b) {
        FourBytes steps[kStepsPerRun];
        load_quants(rows, b, steps);
        for (int step = 0; step < kStepsPerRun; ++step) {
            store_32(panel.quants[b][step][first_row],
                     kAdded == 0 ? steps[step] : _mm256_add_epi8(steps[step], added));
        }
        _mm256_store_ps(panel.d[b] + first_row, load_factors(rows, b));
        if constexpr (Type::kHasMinimum) {
            _mm256_store_ps(panel.m[b] + first_row,
                            load_halves([&](int r) { return rows[r][b].m; }));
        }
    }
}

// ---- the K types

/// The 32 bytes at `offset` of each block.
template <typename Block>
inline void load_turned(const RowBlocks<Block>& rows, std::int64_t offset, FourBytes* steps) {
    const auto at = [&](int r) { return reinterpret_cast<const char*>(rows[r]) + offset; };
    load_turned(at, steps);
    load_turned([&](int r) { return at(r) + kTurnedBytes; }, steps + 4);
}

inline void store_quants(const RowBlocks<BlockQ4K>& rows, int first_row, Panel& panel) {
    for (int pair = 0; pair < 4; ++pair) {
        FourBytes bytes[kStepsPerRun];
        load_turned(rows, offsetof(BlockQ4K, quants) + 32 * pair, bytes);
        for (int step = 0; step < kStepsPerRun; ++step) {
            store_32(panel.quants[2 * pair][step][first_row], bits_of<4, 0>(bytes[step], 0));
            store_32(panel.quants[2 * pair + 1][step][first_row], bits_of<4, 0>(bytes[step], 4));
        }
    }
}
inline void store_quants(const RowBlocks<BlockQ5K>& rows, int first_row, Panel& panel) {
    FourBytes high[kStepsPerRun];
    load_turned(rows, offsetof(BlockQ5K, high), high);
    for (int pair = 0; pair < 4; ++pair) {
        FourBytes bytes[kStepsPerRun];
        load_turned(rows, offsetof(BlockQ5K, quants) + 32 * pair, bytes);
        for (int step = 0; step < kStepsPerRun; ++step) {
            for (int half = 0; half < 2; ++half) {
                const int run = 2 * pair + half;
                const __m256i low = bits_of<4, 0>(bytes[step], 4 * half);
                const __m256i fifth = bits_of<1, 4>(high[step], run);
                store_32(panel.quants[run][step][first_row], _mm256_or_si256(low, fifth));
            }
        }
    }
}
inline void store_quants(const RowBlocks<BlockQ6K>& rows, int first_row, Panel& panel) {
    for (int half = 0; half < 2; ++half) {
        FourBytes high[kStepsPerRun];
        load_turned(rows, offsetof(BlockQ6K, high) + 32 * half, high);
#pragma GCC unroll 2
        for (int part = 0; part < 2; ++part) {
            FourBytes bytes[kStepsPerRun];
            load_turned(rows, offsetof(BlockQ6K, low) + 64 * half + 32 * part, bytes);
#pragma GCC unroll 8
            for (int step = 0; step < kStepsPerRun; ++step) {
#pragma GCC unroll 2
                for (int top = 0; top < 2; ++top) {
                    const int quarter = part + 2 * top;
                    const __m256i low = bits_of<4, 0>(bytes[step], 4 * top);
                    const __m256i fifth_and_sixth = bits_of<2, 4>(high[step], 2 * quarter);
                    store_32(panel.quants[4 * half + quarter][step][first_row],
                             _mm256_or_si256(low, fifth_and_sixth));
                }
            }
        }
    }
}

/// Q4_K and Q5_K: eight scales and minima of six bits. A block begins with d, dmin and those.
template <typename Block>
inline void store_k_factors(const RowBlocks<Block>& rows, int first_row, Panel& panel) {
    static_assert(offsetof(Block, scales) == 4 && sizeof(Block::scales) == 12);
    FourBytes header[4];
    load_turned([&](int r) { return rows[r]; }, header);
    const auto first_four = [](FourBytes packed) { return bits_of<6, 0>(packed, 0); };
    const auto last_four = [&](FourBytes packed, int low_bit) {
        const FourBytes low = bits_of<4, 0>(header[3], low_bit);
        const FourBytes high = bits_of<2, 4>(packed, 6);
        return _mm256_or_si256(low, high);
    };
    const FourBytes scales[2] = {first_four(header[1]), last_four(header[1], 0)};
    const FourBytes minima[2] = {first_four(header[2]), last_four(header[2], 4)};
#pragma GCC unroll 8
    for (int run = 0; run < kRunsPerGroup; ++run) {
        const int at = run % 4;
        store_32(panel.scales[run][first_row],
                 shuffle_fours(scales[run / 4], at, kNone, at, kNone));
    }
#pragma GCC unroll 4
    for (int pair = 0; pair < kRunsPerGroup / 2; ++pair) {
        const int at = 2 * pair % 4;
        store_32(panel.offsets[pair][first_row],
                 shuffle_fours(minima[pair / 2], at, kNone, at + 1, kNone));
    }
    // d of four rows and their dmin, then of the other four.
    const __m256i both = _mm256_packus_epi32(_mm256_and_si256(header[0], _mm256_set1_epi32(0xFFFF)),
                                             _mm256_srli_epi32(header[0], 16));
    const __m256i halves = _mm256_permute4x64_epi64(both, _MM_SHUFFLE(3, 1, 2, 0));
    _mm256_store_ps(panel.d[0] + first_row, _mm256_cvtph_ps(_mm256_castsi256_si128(halves)));
    _mm256_store_ps(panel.d[1] + first_row, _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1)));
}

/// Scales of eight bits with a sign, which are offsets too.
inline void store_k_factors(const RowBlocks<BlockQ6K>& rows, int first_row, Panel& panel) {
    FourBytes scales[4];
    load_turned([&](int r) { return rows[r]->scales; }, scales);
    const auto pair_of = [&](int four, int at, int next) {
        return _mm256_srai_epi16(shuffle_fours(scales[four], kNone, at, kNone, next), 8);
    };
#pragma GCC unroll 16
    for (int i = 0; i < 2 * kRunsPerGroup; ++i) {
        store_32(panel.scales[i][first_row], pair_of(i / 4, i % 4, i % 4));
    }
#pragma GCC unroll 8
    for (int pair = 0; pair < kRunsPerGroup; ++pair) {
        const int at = 2 * pair % 4;
        store_32(panel.offsets[pair][first_row], pair_of(pair / 2, at, at + 1));
    }
    _mm256_store_ps(panel.d[0] + first_row, load_halves([&](int r) { return rows[r]->d; }));
}

}  // namespace
}  // namespace hearth::cpu
