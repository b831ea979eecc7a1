// How a dot kernel walks its tokens: tiles of four that share the loads of a row of weights, then
// the rest. Included by kernels_*.cpp; internal linkage.
#pragma once

#include <cstdint>

#include "kernels/cpu/kernels.h"

namespace hearth::cpu {
namespace {

/// Tokens whose dot products share the loads of one row of weights.
constexpr int kTileTokens = 4;

/// Calls visit<n>(first token) for tiles of four of `tokens` and a rest of fewer.
template <typename Visit>
inline void for_tiles(std::int64_t tokens, const Visit& visit) {
    std::int64_t t = 0;
    for (; t + kTileTokens <= tokens; t += kTileTokens) {
        visit.template operator()<kTileTokens>(t);
    }
    switch (tokens - t) {
        case 3:
            return visit.template operator()<3>(t);
        case 2:
            return visit.template operator()<2>(t);
        case 1:
            return visit.template operator()<1>(t);
        default:
            return;
    }
}

/// Calls Tile::run<n>(call, first token) for the call's tokens.
template <typename Tile>
inline void for_token_tiles(const DotCall& call) {
    for_tiles(call.tokens,
              [&]<int kCount>(std::int64_t first) { Tile::template run<kCount>(call, first); });
}

/// What Tile::run has in hand: the row's bytes, and where its results go.
inline const char* row_of(const DotCall& call, std::int64_t row) {
    return static_cast<const char*>(call.weights) + row * call.row_bytes;
}

}  // namespace
}  // namespace hearth::cpu
