// How attention's blocks are laid out and launched: widths, and what of the cache shared memory
// holds.
#pragma once

#include <algorithm>

#include "kernels/cuda/attention_rows.cuh"
#include "kernels/cuda/check.h"
#include "kernels/cuda/launch.cuh"

namespace hearth::cuda {

// Widths, narrow to wide; the number of columns alone chooses, so that a row's bits do not depend
// on how it is computed.
template <int kTiles, Format kCache = Format::f16>
using Narrow = TileWidth<4, 2, 4, 2, kTiles, kCache>;  ///< up to 128 columns of keys and of values
template <int kTiles, Format kCache = Format::f16>
using Middle = TileWidth<4, 4, 4, 4, kTiles, kCache>;  ///< up to 256
template <Format kCache>
using Wide = TileWidth<16, 12, 3, 2, 1, kCache>;  ///< 576 of keys, 512 of values
inline constexpr int kNarrowDim = 128;
inline constexpr int kMiddleDim = 256;
inline constexpr int kWalkTiles = 2;

/// Shared memory that rows take.
template <typename W>
std::size_t staged_bytes(const Staging& staging) {
    const int piece_halves =
        std::max(W::kRoundKeys * staging.key_stride, kSplitTokens * (W::kPieceColumns + 8));
    const int halves = staging.stages == 0 ? piece_halves : staging.stages * staging.stage_halves;
    return sizeof(std::uint16_t) * static_cast<std::size_t>(halves);
}

/// As many splits at once as shared memory holds, up to `stages_max`.
template <typename W>
Staging make_staging(const AttentionArgs& args, int stages_max) {
    const auto padded = [](int columns) { return (columns + 15) / 16 * 16; };
    const int key_dim = args.query_dim + args.rest_dim;
    Staging staging{
        .stages = stages_max, .key_columns = padded(key_dim), .key_stride = padded(key_dim) + 8};
    staging.stage_halves = kSplitTokens * staging.key_stride;
    staging.value_stride = staging.key_stride;
    if (!args.values_are_keys) {
        staging.value_offset = staging.stage_halves;
        staging.value_stride = padded(args.value_dim) + 8;
        staging.stage_halves += kSplitTokens * staging.value_stride;
    }
    const bool has_aligned_values =
        args.values_are_keys || (args.value_dim % 8 == 0 && args.cache.value_dim % 8 == 0);
    staging.in_16_bytes = key_dim % 8 == 0 && args.cache.key_dim % 8 == 0 && has_aligned_values;
    const auto shared_bytes = static_cast<std::size_t>(args.shared_bytes_max);
    while (staging.stages > 0 && staged_bytes<W>(staging) + W::kBytes > shared_bytes) {
        --staging.stages;
    }
    return staging;
}

template <typename W>
Tiles make_tiles(const AttentionArgs& args) {
    Tiles tiles{.group = args.heads / args.kv_heads};
    tiles.count = (tiles.group + W::kRows - 1) / W::kRows;
    if (tiles.count > 1 || tiles.group > W::kRows / 2) return tiles;
    tiles.tokens = W::kRows / tiles.group;
    tiles.inverse = (1U << 16) / static_cast<unsigned>(tiles.group) + 1;
    return tiles;
}

/// Names the device's shared memory and multiprocessors where the caller did not.
inline Result<void> name_device(AttentionArgs& args) {
    if (args.shared_bytes_max == 0) {
        HEARTH_TRY(args.shared_bytes_max,
                   attribute_of_device(cudaDevAttrMaxSharedMemoryPerBlockOptin));
    }
    if (args.multiprocessors == 0) {
        HEARTH_TRY(args.multiprocessors, attribute_of_device(cudaDevAttrMultiProcessorCount));
    }
    return {};
}

/// A block per (tile of query heads of a key head, token, split); `more` are the kernel's arguments
/// behind the usual ones.
template <typename W, typename... More>
Result<void> launch_tiles(const char* name,
                          void (*kernel)(AttentionArgs, StepTables, Tiles, Staging, int, More...),
                          const AttentionArgs& args,
                          const StepTables& step,
                          int tokens,
                          int splits,
                          Queue queue,
                          More... more) {
    const Staging staging = make_staging<W>(args, splits > 0 ? 1 : 2);
    const std::size_t bytes = staged_bytes<W>(staging);
    const Tiles tiles = make_tiles<W>(args);
    return launch(name,
                  kernel,
                  {.grid = dim3(static_cast<unsigned>(args.kv_heads * tiles.count),
                                static_cast<unsigned>(tokens),
                                static_cast<unsigned>(std::max(splits, 1))),
                   .block = dim3(W::kThreads),
                   .shared_bytes = bytes + W::kBytes},
                  queue,
                  args,
                  step,
                  tiles,
                  staging,
                  static_cast<int>(bytes),
                  more...);
}

/// Tiles of 32 rows where they are enough to keep the device busy, else of 16.
inline bool has_many_tiles(const AttentionArgs& args, int tokens) {
    constexpr int kRows = kMmaRows * kWalkTiles;
    const int group = args.heads / args.kv_heads;
    const unsigned tiles = static_cast<unsigned>(args.kv_heads) * blocks_for(group, kRows) *
                           blocks_for(tokens, std::max(1, kRows / group));
    return tiles >= static_cast<unsigned>(args.multiprocessors);
}

}  // namespace hearth::cuda
