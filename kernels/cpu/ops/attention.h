// Tiles of tokens of one sequence and their rows in the cache, for all attention; and the walk of
// grouped-query attention over a sequence's blocks. The cache is split by block, and the splits are
// taken in order, so that a row's result depends on its query and its own past alone.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cpu/op.h"

namespace hearth::cpu {

/// Consecutive tokens of one sequence, whose rows lie side by side.
struct TokenTile {
    std::int64_t first;
    std::int64_t count;
};

/// Cuts a step into tiles of at most `tokens_max`; never across sequences.
void cut_tiles(const Step& step, std::int64_t tokens_max, std::vector<TokenTile>& tiles);

/// Which columns of the cache's rows the queries look at.
struct CacheColumns {
    std::int32_t layer;
    std::int64_t key_offset, key_dim;
    std::int64_t value_offset, value_dim;
};

/// Queries with the state of their softmax, in scratch.
struct QueryRows {
    QueryRows(Scratch& scratch, std::int64_t key_dim, std::int64_t value_dim);
    static std::int64_t bytes(std::int64_t key_dim, std::int64_t value_dim);

    float* queries;           ///< (kAttendRows, key_dim)
    float* out;               ///< (kAttendRows, value_dim)
    float* maxima;            ///< (kAttendRows)
    float* sums;              ///< (kAttendRows)
    float* decoded;           ///< (kAttendTokens, key_dim + value_dim)
    std::int32_t* positions;  ///< (kAttendRows) of the row's token
    std::int32_t* visible;    ///< (kAttendRows)
};

/// `rows` queries, already in `state`, over the sequence of `token`; leaves the weighted means of
/// the values in `state.out`.
void attend_sequence(const Step& step,
                     std::int64_t token,
                     const CacheColumns& columns,
                     std::int64_t rows,
                     float scale,
                     const QueryRows& state);

/// Rounds a token's row of `dim` keys or values into the layer's cache.
void store_keys(
    const Step& step, std::int64_t token, std::int32_t layer, const float* row, std::int64_t dim);
void store_latent(const Step& step,
                  std::int64_t token,
                  std::int32_t layer,
                  const float* row,
                  std::int64_t key_dim,
                  std::int64_t value_dim);
void store_values(
    const Step& step, std::int64_t token, std::int32_t layer, const float* row, std::int64_t dim);

}  // namespace hearth::cpu
