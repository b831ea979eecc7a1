// Few tokens against the rows of a 256-type four at a time, as they lie: what is small is unpacked
// for four rows at once. The integers are exact and the floats add as in dot_quantised.h, so that a
// row's bits are those that it has alone. Included by kernels_avx*.cpp alone; internal linkage.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/simd/dot_quantised.h"

namespace hearth::cpu {
namespace {

constexpr int kRowsAtOnce = 4;

/// As many rows of the call as make fours, for a tile of tokens: returns how many. A function of
/// its own, for the sake of its registers. Rows has
///   add_block(rows, tokens, b)   adds the products of block b of each row
///   finish(t)                    the four sums of a token
template <typename Rows, typename Block, int kCount>
[[gnu::noinline]] std::int64_t dot_four_rows(const DotCall& call,
                                             const Q8kGroup* const (&tokens)[kCount],
                                             float* out) {
    constexpr std::int64_t kBlocksBytes = kRowsAtOnce * sizeof(Block);
    // What is asked for in the order in which it lies is not yet in use.
    const std::int64_t rows_bytes = kRowsAtOnce * call.row_bytes;
    const std::int64_t ahead_bytes = rows_bytes > kAheadBytes ? rows_bytes : kAheadBytes;
    std::int64_t r = 0;
    for (; r + kRowsAtOnce <= call.rows; r += kRowsAtOnce) {
        const Block* rows[kRowsAtOnce];
        for (int i = 0; i < kRowsAtOnce; ++i) {
            rows[i] = reinterpret_cast<const Block*>(row_of(call, r + i));
        }
        const char* in_order = row_of(call, r);
        Rows sums;
        for (std::int64_t b = 0; b < call.dim / kQ8kElements; ++b) {
            ask_ahead(in_order + b * kBlocksBytes, kBlocksBytes, ahead_bytes);
            sums.add_block(rows, tokens, b);
        }
        for (int t = 0; t < kCount; ++t) {
            _mm_storeu_ps(out + t * call.out_stride + r, sums.finish(t));
        }
    }
    return r;
}

}  // namespace
}  // namespace hearth::cpu
