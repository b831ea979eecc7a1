// How a block of the wide tile (wide_tile.cuh) lays out its shared memory.
#pragma once

#include <cstddef>
#include <optional>

#include "kernels/cuda/matrix.h"

namespace hearth::cuda {

inline constexpr int kWideRows = 32;
inline constexpr int kWideTokens = 32;
inline constexpr int kWideWarps = 8;
inline constexpr int kPieceChunks = 4;  ///< neighbouring chunks, one of each warp of 16 rows
inline constexpr int kWideTurns = 8;    ///< strands of a warp
/// Floats between the sums of a token and the next one's, spread over the banks.
inline constexpr int kWideSumStride = 20;
inline constexpr int kWidePhaseShiftMax = 3;

struct WideLayout {
    int phase_shift = 0;  ///< log2 of the phases
    int pieces = 0;       ///< of a row in a phase
    int row_bytes = 0;    ///< of a token: an odd number of 16 bytes, against bank conflicts
    int scales_offset = 0;
    int rooms_offset = 0;
    int room_bytes = 0;    ///< of a warp
    int aside_offset = 0;  ///< in a room
    std::size_t bytes = 0;
};

constexpr WideLayout make_wide_layout(int columns, int phase_shift) {
    constexpr int kScaleBytes = 8;
    constexpr int kRows = 16;
    const int pieces =
        (columns + kPieceChunks * kChunkWeights - 1) / (kPieceChunks * kChunkWeights);
    WideLayout out;
    out.phase_shift = phase_shift;
    out.pieces = (pieces + (1 << phase_shift) - 1) >> phase_shift;
    out.row_bytes = out.pieces * kPieceChunks * kChunkWeights + 16;
    out.scales_offset = kWideTokens * out.row_bytes;
    out.rooms_offset = out.scales_offset + out.pieces * kPieceChunks * kWideTokens * kScaleBytes;
    out.aside_offset = out.pieces * kRows * kScaleBytes;
    const int aside = kRows * kWideTokens * static_cast<int>(sizeof(float));
    const int sums = kWideTokens * kWideSumStride * static_cast<int>(sizeof(float));
    out.room_bytes = out.aside_offset + aside > sums ? out.aside_offset + aside : sums;
    out.bytes = static_cast<std::size_t>(out.rooms_offset + kWideWarps * out.room_bytes);
    return out;
}

/// As few phases as let two blocks run on a multiprocessor, else on most; none: rows too long.
///   bytes_max   shared memory that a block may have at most, with `more` beside the layout
constexpr std::optional<WideLayout> find_wide_layout(int columns,
                                                     std::size_t bytes_max,
                                                     std::size_t more) {
    constexpr std::size_t kReserved = 1024;  // of a block, by the system
    for (int shift = 0; shift <= kWidePhaseShiftMax; ++shift) {
        const WideLayout layout = make_wide_layout(columns, shift);
        const std::size_t limit =
            shift < kWidePhaseShiftMax ? (bytes_max - kReserved) / 2 : bytes_max;
        if (layout.bytes + more <= limit) return layout;
    }
    return std::nullopt;
}

}  // namespace hearth::cuda
