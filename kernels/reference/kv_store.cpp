#include "kernels/reference/kv_store.h"

#include <algorithm>
#include <string>

#include "core/base/assert.h"

namespace hearth::reference {

ReferenceKvStore::ReferenceKvStore(const compute::KvLayout& layout, std::int32_t block_count)
    : layout_(layout),
      block_count_(block_count) {
    const auto positions = static_cast<std::size_t>(block_count) * compute::kBlockTokens;
    const auto rows = positions * static_cast<std::size_t>(layout.layer_count);
    // calloc and not a vector: pages that no sequence reaches are never touched.
    rows_.reset(static_cast<float*>(
        std::calloc(rows * static_cast<std::size_t>(row_dim()), sizeof(float))));
    scores_.reset(static_cast<float*>(std::calloc(positions, sizeof(float))));
}

Result<std::unique_ptr<ReferenceKvStore>> ReferenceKvStore::make(const compute::KvLayout& layout,
                                                                 std::int32_t block_count) {
    if (block_count < 1 || layout.layer_count < 1 || layout.key_dim < 1 || layout.value_dim < 0) {
        return fail(ErrorCode::invalid_argument,
                    "a cache of " + std::to_string(block_count) + " blocks and " +
                        std::to_string(layout.layer_count) + " layers cannot be made",
                    "reference");
    }
    std::unique_ptr<ReferenceKvStore> store(new ReferenceKvStore(layout, block_count));
    if (store->rows_ == nullptr || store->scores_ == nullptr) {
        return fail(ErrorCode::out_of_memory,
                    "no memory for a cache of " + std::to_string(store->size_bytes()) +
                        " bytes; ask for fewer cache tokens",
                    "reference");
    }
    return store;
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
