// Rows of queries over the cached rows of a latent model: the walk over a sequence, cut into
// stretches of a fixed number of positions. The softmax of a stretch is taken by itself and merged
// with that of the stretches before it, in order, so that a row has the same bits whether one
// thread walks all stretches or several take one each.
#pragma once

#include <cstdint>

#include "core/compute/plan.h"
#include "kernels/cpu/op.h"

namespace hearth::cpu {

/// Positions of a stretch: long enough that merging costs little, short enough to share out.
inline constexpr std::int32_t kStretchTokens = 256;
static_assert(kStretchTokens % kMixTokens == 0 && kMixTokens % compute::kBlockTokens == 0);

inline std::int32_t stretch_count(std::int32_t last_position) {
    return last_position / kStretchTokens + 1;
}

/// The queries of some heads of a tile of tokens, turned; rounded where the cache is.
struct LatentQueries {
    float* turned;        ///< (rounded_query_rows(key_dim), stride), a row in each column
    std::int64_t stride;  ///< a multiple of kMixLanes
    std::int64_t rows;
    std::int64_t first_token;       ///< of the step; all rows belong to its sequence
    const std::int32_t* positions;  ///< (rows) of each row's token
};

/// Which rows of the cache, and how they are looked at: keys are whole rows, values their first
/// columns.
struct LatentColumns {
    std::int32_t layer;
    std::int64_t key_dim, value_dim;
    float scale;
};

/// What rows have gathered.
struct MixState {
    MixState(float* memory, std::int64_t columns)
        : maxima(memory),
          sums(memory + kAttendRows),
          out(memory + std::int64_t{2} * kAttendRows),
          value_dim(columns) {}
    static std::int64_t floats(std::int64_t rows, std::int64_t columns) {
        return std::int64_t{2} * kAttendRows + rows * columns;
    }

    void clear(std::int64_t rows) const;
    /// Takes in what a row has gathered of a later stretch.
    void merge(const Kernels& kernels,
               std::int64_t row,
               const MixState& later,
               std::int64_t later_row) const;
    /// Sums of weighted values become means.
    void divide(const Kernels& kernels, std::int64_t rows) const;

    float* maxima;  ///< (kAttendRows)
    float* sums;    ///< (kAttendRows)
    float* out;     ///< (rows, value_dim)
    std::int64_t value_dim;
};

/// Memory for one call of the functions below.
struct MixScratch {
    MixScratch(Scratch& scratch, std::int64_t key_dim, std::int64_t value_dim)
        : floats(scratch.take<float>(kMixTokens * key_dim)),
          widened(scratch.take<std::byte>(widened_rows_bytes(key_dim, value_dim))),
          visible(scratch.take<std::int32_t>(kAttendRows)) {}
    static std::int64_t bytes(std::int64_t key_dim, std::int64_t value_dim) {
        return Scratch::bytes<float>(kMixTokens * key_dim) +
               Scratch::bytes<std::byte>(widened_rows_bytes(key_dim, value_dim)) +
               Scratch::bytes<std::int32_t>(kAttendRows);
    }

    float* floats;          ///< (kMixTokens, key_dim)
    std::byte* widened;     ///< widened_rows_bytes
    std::int32_t* visible;  ///< (kAttendRows)
};

/// One stretch, into a state that was cleared.
void mix_stretch(const Step& step,
                 const LatentQueries& queries,
                 const LatentColumns& columns,
                 std::int32_t stretch,
                 const MixScratch& scratch,
                 const MixState& state);

/// All stretches that the rows can see; leaves means in `state.out`. `part` is memory for another
/// state.
void mix_sequence(const Step& step,
                  const LatentQueries& queries,
                  const LatentColumns& columns,
                  const MixScratch& scratch,
                  const MixState& state,
                  const MixState& part);

}  // namespace hearth::cpu
