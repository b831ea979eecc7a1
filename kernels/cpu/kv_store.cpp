#include "kernels/cpu/kv_store.h"

#include <cstring>
#include <string>

#include "core/base/assert.h"

namespace hearth::cpu {

static_assert(compute::kBlockTokens == kAttendTokens);

CpuKvStore::CpuKvStore(const compute::KvLayout& layout, std::int32_t block_count, bool is_rounded)
    : layout_(layout),
      block_count_(block_count),
      is_rounded_(is_rounded),
      key_row_bytes_(compute::cache_row_bytes(layout.dtype, layout.key_dim)),
      value_row_bytes_(compute::cache_row_bytes(layout.dtype, layout.value_dim)),
      key_block_bytes_(is_rounded ? rounded_block_bytes(layout.key_dim, layout.rounded_latent_dim)
                                  : compute::kBlockTokens * key_row_bytes_) {}

Result<std::unique_ptr<compute::KvStore>> CpuKvStore::make(const compute::KvLayout& layout,
                                                           std::int32_t block_count) {
    if (layout.layer_count < 0 || layout.key_dim < 0 || layout.value_dim < 0 || block_count < 1) {
        return fail(ErrorCode::invalid_argument,
                    "a cache of " + std::to_string(block_count) + " blocks and " +
                        std::to_string(layout.layer_count) + " layers cannot be made",
                    "cpu");
    }
    const bool is_rounded = layout.dtype != compute::Dtype::f32 && layout.rounded_latent_dim > 0;
    std::unique_ptr<CpuKvStore> store(new CpuKvStore(layout, block_count, is_rounded));
    std::int64_t bytes = 0;
    const bool is_too_large =
        __builtin_mul_overflow(store->block_bytes(), std::int64_t{block_count}, &bytes) ||
        __builtin_mul_overflow(bytes, std::int64_t{layout.layer_count}, &bytes);
    // calloc takes zero pages: memory is spent as blocks are written.
    constexpr std::size_t kLine = 64;
    std::size_t room = static_cast<std::size_t>(bytes) + kLine;
    if (!is_too_large) {
        store->memory_.reset(static_cast<std::byte*>(std::calloc(room, 1)));
    }
    if (store->memory_ == nullptr) {
        return fail(ErrorCode::out_of_memory,
                    "no memory for a cache of " + std::to_string(block_count) + " blocks in " +
                        std::to_string(layout.layer_count) +
                        " layers; use a smaller context or fewer sequences",
                    "cpu");
    }
    void* first = store->memory_.get();
    store->first_ = static_cast<std::byte*>(std::align(kLine, room - kLine, first, room));
    return std::unique_ptr<compute::KvStore>(std::move(store));
}

std::int64_t CpuKvStore::size_bytes() const {
    return block_bytes() * block_count_ * layout_.layer_count;
}

void CpuKvStore::copy_block(std::int32_t from, std::int32_t to) {
    HEARTH_ASSERT(from >= 0 && from < block_count_ && to >= 0 && to < block_count_);
    if (from == to) return;
    const auto bytes = static_cast<std::size_t>(block_bytes());
    for (std::int32_t layer = 0; layer < layout_.layer_count; ++layer) {
        std::memcpy(keys(layer, to), keys(layer, from), bytes);
    }
}

}  // namespace hearth::cpu
