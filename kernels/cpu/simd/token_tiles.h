// How a dot kernel walks its tokens: tiles of four that share the loads of a row of weights, then
// the rest. Included by kernels_*.cpp; internal linkage.
#pragma once

#include <cstdint>

#include "kernels/cpu/kernels.h"

namespace hearth::cpu {
namespace {

/// Tokens whose dot products share the loads of one row of weights.
constexpr int kTileTokens = 4;

/// Calls Tile::run<n>(call, first token) for tiles of four tokens and a rest of fewer.
template <typename Tile>
inline void for_token_tiles(const DotCall& call) {
    std::int64_t t = 0;
    for (; t + kTileTokens <= call.tokens; t += kTileTokens) {
        Tile::template run<kTileTokens>(call, t);
    }
    switch (call.tokens - t) {
        case 3:
            return Tile::template run<3>(call, t);
        case 2:
            return Tile::template run<2>(call, t);
        case 1:
            return Tile::template run<1>(call, t);
        default:
            return;
    }
}

/// What Tile::run has in hand: the row's bytes, and where its results go.
inline const char* row_of(const DotCall& call, std::int64_t row) {
    return static_cast<const char*>(call.weights) + row * call.row_bytes;
}

}  // namespace
}  // namespace hearth::cpu
