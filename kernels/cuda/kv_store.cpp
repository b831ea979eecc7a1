#include "kernels/cuda/kv_store.h"

#include <string>

#include "core/base/assert.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/planes.h"
#include "kernels/cuda/step.h"

namespace hearth::cuda {

Result<std::unique_ptr<compute::KvStore>> CudaKvStore::make(const compute::KvLayout& layout,
                                                            std::int32_t block_count,
                                                            std::shared_ptr<Stream> stream) {
    HEARTH_CHECK(stream->enter());
    if (block_count < 1) {
        return fail(ErrorCode::invalid_argument, "a cache needs at least one block", "cuda");
    }
    std::unique_ptr<CudaKvStore> store(new CudaKvStore(layout, block_count, std::move(stream)));
    HEARTH_TRY(
        store->memory_,
        DeviceBuffer::make(store->size_bytes(),
                           "a cache of " +
                               std::to_string(std::int64_t{block_count} * compute::kBlockTokens) +
                               " tokens"));
    return std::unique_ptr<compute::KvStore>(std::move(store));
}

std::int64_t CudaKvStore::block_bytes() const {
    const CacheLayer layer{0,
                           static_cast<std::int32_t>(layout_.key_dim),
                           static_cast<std::int32_t>(layout_.value_dim),
                           to_format(layout_.dtype)};
    return cache_block_halves(layer) * static_cast<std::int64_t>(sizeof(std::uint16_t));
}

std::int64_t CudaKvStore::size_bytes() const {
    return layout_.layer_count * block_count_ * block_bytes();
}

void CudaKvStore::copy_block(std::int32_t from, std::int32_t to) {
    HEARTH_ASSERT(from >= 0 && from < block_count_ && to >= 0 && to < block_count_);
    if (copied_) copied_ = stream_->enter();
    if (!copied_) return;
    const auto bytes = static_cast<std::size_t>(block_bytes());
    const std::size_t pitch = bytes * static_cast<std::size_t>(block_count_);
    std::byte* base = memory_.data();
    copied_ = check(cudaMemcpy2DAsync(base + to * block_bytes(),
                                      pitch,
                                      base + from * block_bytes(),
                                      pitch,
                                      bytes,
                                      static_cast<std::size_t>(layout_.layer_count),
                                      cudaMemcpyDeviceToDevice,
                                      stream_->get()),
                    "cudaMemcpy2DAsync",
                    __FILE__,
                    __LINE__);
}

}  // namespace hearth::cuda
