#include "kernels/reference/kv_store.h"

#include <algorithm>
#include <array>
#include <string>

#include "core/base/assert.h"
#include "core/compute/blocks.h"
#include "core/compute/half.h"
#include "kernels/reference/dequantize.h"
#include "kernels/reference/quantize.h"

namespace hearth::reference {
namespace {

/// What is left of a row that was stored in Q8_0.
void round_to_q8(std::span<const float> values, float* row) {
    for (std::size_t begin = 0; begin < values.size(); begin += compute::kBlockElements) {
        const std::size_t count =
            std::min(values.size() - begin, std::size_t{compute::kBlockElements});
        std::array<float, compute::kBlockElements> run{};
        std::array<std::byte, sizeof(compute::BlockQ80)> block{};
        std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(begin), count, run.begin());
        quantize(compute::Dtype::q8_0, run, block);
        dequantize(compute::Dtype::q8_0, block, run);
        std::copy_n(run.begin(), count, row + begin);
    }
}

}  // namespace

ReferenceKvStore::ReferenceKvStore(const compute::KvLayout& layout,
                                   std::int32_t block_count,
                                   bool rounds_to_halves)
    : layout_(layout),
      block_count_(block_count),
      rounds_to_halves_(rounds_to_halves) {
    const auto positions = static_cast<std::size_t>(block_count) * compute::kBlockTokens;
    const auto rows = positions * static_cast<std::size_t>(layout.layer_count);
    // calloc and not a vector: pages that no sequence reaches are never touched.
    rows_.reset(static_cast<float*>(
        std::calloc(rows * static_cast<std::size_t>(row_dim()), sizeof(float))));
    scores_.reset(static_cast<float*>(std::calloc(positions, sizeof(float))));
}

Result<std::unique_ptr<ReferenceKvStore>> ReferenceKvStore::make(const compute::KvLayout& layout,
                                                                 std::int32_t block_count,
                                                                 bool rounds_to_halves) {
    if (block_count < 1 || layout.layer_count < 1 || layout.key_dim < 1 || layout.value_dim < 0) {
        return fail(ErrorCode::invalid_argument,
                    "a cache of " + std::to_string(block_count) + " blocks and " +
                        std::to_string(layout.layer_count) + " layers cannot be made",
                    "reference");
    }
    std::unique_ptr<ReferenceKvStore> store(
        new ReferenceKvStore(layout, block_count, rounds_to_halves));
    if (store->rows_ == nullptr || store->scores_ == nullptr) {
        return fail(ErrorCode::out_of_memory,
                    "no memory for a cache of " + std::to_string(store->size_bytes()) +
                        " bytes; ask for fewer cache tokens",
                    "reference");
    }
    return store;
}

void ReferenceKvStore::store(float* row, std::span<const float> values) const {
    if (layout_.dtype == compute::Dtype::q8_0) {
        round_to_q8(values, row);
    } else {
        std::ranges::copy(values, row);
    }
    if (!rounds_to_halves_) return;
    std::ranges::transform(std::span(row, values.size()), row, [](float value) {
        return compute::half_to_float(compute::float_to_half(value));
    });
}

std::int64_t ReferenceKvStore::size_bytes() const {
    return static_cast<std::int64_t>(sizeof(float)) * layout_.layer_count * block_count_ *
           compute::kBlockTokens * row_dim();
}

void ReferenceKvStore::copy_block(std::int32_t from, std::int32_t to) {
    HEARTH_ASSERT(from >= 0 && from < block_count_ && to >= 0 && to < block_count_);
    const auto floats = static_cast<std::size_t>(compute::kBlockTokens * row_dim());
    for (std::int32_t layer = 0; layer < layout_.layer_count && from != to; ++layer) {
        std::copy_n(
            rows_.get() + offset(layer, {from, 0}), floats, rows_.get() + offset(layer, {to, 0}));
    }
}

}  // namespace hearth::reference
