#include "kernels/cpu/ops/attention.h"

#include <algorithm>
#include <limits>

namespace hearth::cpu {

static_assert(kAttendTokens == compute::kBlockTokens);

namespace {

/// Where the cache row of a token lies.
struct CacheSlot {
    std::int32_t block;
    std::int64_t row;
};

CacheSlot cache_slot(const Step& step, std::int64_t token) {
    const std::int32_t position = step.position(token);
    const auto block = static_cast<std::size_t>(position / compute::kBlockTokens);
    return {step.block_table(token)[block], position % compute::kBlockTokens};
}

}  // namespace

void cut_tiles(const Step& step, std::int64_t tokens_max, std::vector<TokenTile>& tiles) {
    tiles.clear();
    for (std::int64_t t = 0; t < step.tokens(); ++t) {
        const std::size_t index = step.in_batch(t);
        const bool continues = t > 0 && tiles.back().count < tokens_max &&
                               step.in_batch(t - 1) + 1 == index &&
                               step.batch.sequence_of[index] == step.batch.sequence_of[index - 1];
        if (continues) {
            ++tiles.back().count;
        } else {
            tiles.push_back({t, 1});
        }
    }
}

QueryRows::QueryRows(Scratch& scratch, std::int64_t key_dim, std::int64_t value_dim)
    : queries(scratch.take<float>(kAttendRows * key_dim)),
      out(scratch.take<float>(kAttendRows * value_dim)),
      maxima(scratch.take<float>(kAttendRows)),
      sums(scratch.take<float>(kAttendRows)),
      decoded(scratch.take<float>(kAttendTokens * (key_dim + value_dim))),
      positions(scratch.take<std::int32_t>(kAttendRows)),
      visible(scratch.take<std::int32_t>(kAttendRows)) {}

std::int64_t QueryRows::bytes(std::int64_t key_dim, std::int64_t value_dim) {
    return Scratch::bytes<float>(kAttendRows * key_dim) +
           Scratch::bytes<float>(kAttendRows * value_dim) + 2 * Scratch::bytes<float>(kAttendRows) +
           Scratch::bytes<float>(kAttendTokens * (key_dim + value_dim)) +
           2 * Scratch::bytes<std::int32_t>(kAttendRows);
}

void attend_sequence(const Step& step,
                     std::int64_t token,
                     const CacheColumns& columns,
                     std::int64_t rows,
                     float scale,
                     const QueryRows& state) {
    std::fill_n(state.maxima, rows, -std::numeric_limits<float>::infinity());
    std::fill_n(state.sums, rows, 0.0F);
    std::fill_n(state.out, rows * columns.value_dim, 0.0F);
    const auto attend = step.kernels.attend[step.kv.type()];
    const std::span<const std::int32_t> blocks = step.block_table(token);
    const std::int32_t last = *std::max_element(state.positions, state.positions + rows);
    for (std::int32_t from = 0; from <= last; from += kAttendTokens) {
        for (std::int64_t r = 0; r < rows; ++r) {
            state.visible[r] = std::clamp(state.positions[r] + 1 - from, 0, kAttendTokens);
        }
        const std::int32_t block = blocks[static_cast<std::size_t>(from / kAttendTokens)];
        attend({state.queries,
                columns.key_dim,
                rows,
                state.visible,
                step.kv.keys(columns.layer, block),
                step.kv.key_row_bytes(),
                columns.key_offset,
                columns.key_dim,
                step.kv.values(columns.layer, block),
                step.kv.value_row_bytes(),
                columns.value_offset,
                columns.value_dim,
                std::min(kAttendTokens, last + 1 - from),
                scale,
                state.maxima,
                state.sums,
                state.out,
                columns.value_dim,
                state.decoded});
    }
    for (std::int64_t r = 0; r < rows; ++r) {
        float* out = state.out + r * columns.value_dim;
        const float factor = 1.0F / state.sums[r];
        for (std::int64_t i = 0; i < columns.value_dim; ++i) {
            out[i] *= factor;
        }
    }
}

void store_keys(
    const Step& step, std::int64_t token, std::int32_t layer, const float* row, std::int64_t dim) {
    const CacheSlot slot = cache_slot(step, token);
    step.kernels.store_row[step.kv.type()](
        row, dim, step.kv.keys(layer, slot.block) + slot.row * step.kv.key_row_bytes());
}

void store_latent(const Step& step,
                  std::int64_t token,
                  std::int32_t layer,
                  const float* row,
                  std::int64_t key_dim,
                  std::int64_t value_dim) {
    if (!step.kv.is_rounded()) return store_keys(step, token, layer, row, key_dim);
    const CacheSlot slot = cache_slot(step, token);
    step.kernels.store_rounded(
        {row, key_dim, value_dim, slot.row, step.kv.keys(layer, slot.block)});
}

void store_values(
    const Step& step, std::int64_t token, std::int32_t layer, const float* row, std::int64_t dim) {
    const CacheSlot slot = cache_slot(step, token);
    step.kernels.store_row[step.kv.type()](
        row, dim, step.kv.values(layer, slot.block) + slot.row * step.kv.value_row_bytes());
}

}  // namespace hearth::cpu
