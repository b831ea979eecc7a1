#include "kernels/cpu/ops/latent_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace hearth::cpu {
namespace {

/// The cached rows of positions [from, from + count): as floats, or as the rounded blocks of
/// `call`.
void read(const Step& step,
          std::int64_t token,
          const LatentColumns& columns,
          std::int32_t from,
          std::int32_t count,
          const MixScratch& scratch,
          MixCall& call) {
    const std::span<const std::int32_t> blocks = step.block_table(token);
    for (std::int32_t i = 0; i < count; i += compute::kBlockTokens) {
        const auto block = static_cast<std::size_t>((from + i) / compute::kBlockTokens);
        const std::byte* rows = step.kv.keys(columns.layer, blocks[block]);
        if (step.kv.is_rounded()) {
            call.blocks[i / compute::kBlockTokens] = rows;
            continue;
        }
        const std::int32_t row_count = std::min(compute::kBlockTokens, count - i);
        step.kernels.decode_rows[step.kv.type()](rows,
                                                 step.kv.key_row_bytes(),
                                                 columns.key_dim,
                                                 row_count,
                                                 scratch.floats + i * columns.key_dim);
    }
}

/// The blocks of positions from `from` on, of which all are in the block table.
void look_ahead(
    const Step& step, std::int64_t token, std::int32_t layer, std::int32_t from, MixCall& call) {
    constexpr std::size_t kBlocks = kMixTokens / compute::kBlockTokens;
    static_assert(kBlocks == std::size(MixCall{}.ahead));
    const auto first = static_cast<std::size_t>(from / compute::kBlockTokens);
    for (std::size_t i = 0; i < kBlocks; ++i) {
        call.ahead[i] = step.kv.keys(layer, step.block_table(token)[first + i]);
    }
    call.ahead_bytes = step.kv.key_block_bytes();
}

std::int32_t last_position(const LatentQueries& queries) {
    return *std::max_element(queries.positions, queries.positions + queries.rows);
}

}  // namespace

void MixState::clear(std::int64_t rows) const {
    // Finite, so that a row that sees nothing of a stretch has weights of 0 there.
    std::fill_n(maxima, kAttendRows, std::numeric_limits<float>::lowest());
    std::fill_n(sums, kAttendRows, 0.0F);
    std::fill_n(out, rows * value_dim, 0.0F);
}

void MixState::merge(const Kernels& kernels,
                     std::int64_t row,
                     const MixState& later,
                     std::int64_t later_row) const {
    const float* from = later.out + later_row * value_dim;
    float* to = out + row * value_dim;
    if (sums[row] == 0.0F) {
        maxima[row] = later.maxima[later_row];
        sums[row] = later.sums[later_row];
        std::copy_n(from, value_dim, to);
        return;
    }
    const float maximum = std::max(maxima[row], later.maxima[later_row]);
    const float factor = std::exp(maxima[row] - maximum);
    const float later_factor = std::exp(later.maxima[later_row] - maximum);
    maxima[row] = maximum;
    sums[row] = sums[row] * factor + later.sums[later_row] * later_factor;
    kernels.combine(factor, from, later_factor, value_dim, to);
}

void MixState::divide(const Kernels& kernels, std::int64_t rows) const {
    for (std::int64_t r = 0; r < rows; ++r) {
        float* const row = out + r * value_dim;
        kernels.combine(1.0F / sums[r], row, 0.0F, value_dim, row);
    }
}

void mix_stretch(const Step& step,
                 const LatentQueries& queries,
                 const LatentColumns& columns,
                 std::int32_t stretch,
                 const MixScratch& scratch,
                 const MixState& state) {
    const std::int32_t begin = stretch * kStretchTokens;
    const std::int32_t end = std::min(begin + kStretchTokens, last_position(queries) + 1);
    for (std::int32_t from = begin; from < end; from += kMixTokens) {
        const std::int32_t count = std::min(kMixTokens, end - from);
        for (std::int64_t r = 0; r < queries.rows; ++r) {
            scratch.visible[r] = std::clamp(queries.positions[r] + 1 - from, 0, count);
        }
        MixCall call{queries.turned,
                     queries.stride,
                     queries.rows,
                     scratch.visible,
                     scratch.floats,
                     columns.key_dim,
                     columns.key_dim,
                     scratch.floats,
                     columns.key_dim,
                     columns.value_dim,
                     count,
                     columns.scale,
                     state.maxima,
                     state.sums,
                     state.out,
                     columns.value_dim};
        // Another thread may take the next stretch.
        const std::int32_t next = from + kMixTokens;
        if (next + kMixTokens <= end) {
            look_ahead(step, queries.first_token, columns.layer, next, call);
        }
        read(step, queries.first_token, columns, from, count, scratch, call);
        call.widened = scratch.widened;
        (step.kv.is_rounded() ? step.kernels.mix_rounded : step.kernels.mix)(call);
    }
}

void mix_sequence(const Step& step,
                  const LatentQueries& queries,
                  const LatentColumns& columns,
                  const MixScratch& scratch,
                  const MixState& state,
                  const MixState& part) {
    state.clear(queries.rows);
    mix_stretch(step, queries, columns, 0, scratch, state);
    const std::int32_t stretches = stretch_count(last_position(queries));
    for (std::int32_t stretch = 1; stretch < stretches; ++stretch) {
        part.clear(queries.rows);
        mix_stretch(step, queries, columns, stretch, scratch, part);
        for (std::int64_t r = 0; r < queries.rows; ++r) {
            if (stretch < stretch_count(queries.positions[r]))
                state.merge(step.kernels, r, part, r);
        }
    }
    state.divide(step.kernels, queries.rows);
}

}  // namespace hearth::cpu
