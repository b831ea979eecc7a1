// The CUDA backend's cache: by layer, block and slot, in halves or in Q8_0 (step.h says how). Keys
// or values beyond the range of a half become infinite.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "core/base/result.h"
#include "core/compute/backend.h"
#include "kernels/cuda/memory.h"

namespace hearth::cuda {

class CudaKvStore final : public compute::KvStore {
  public:
    /// Errors: invalid_argument, out_of_memory.
    static Result<std::unique_ptr<compute::KvStore>> make(const compute::KvLayout& layout,
                                                          std::int32_t block_count,
                                                          std::shared_ptr<Stream> stream);

    [[nodiscard]] std::int32_t block_count() const override { return block_count_; }
    [[nodiscard]] std::int64_t size_bytes() const override;
    /// Comes before the next step in the stream.
    void copy_block(std::int32_t from, std::int32_t to) override;

    [[nodiscard]] const compute::KvLayout& layout() const { return layout_; }
    /// (layer_count, block_count) blocks as CacheLayer has them.
    [[nodiscard]] std::uint16_t* memory() const {
        return reinterpret_cast<std::uint16_t*>(memory_.data());
    }
    /// What failed in copy_block, which has no way to say so: the error of the step that comes
    /// next, once. A device that has failed for good says so itself in any later call.
    [[nodiscard]] Result<void> take_copy_error() { return std::exchange(copied_, Result<void>()); }

  private:
    CudaKvStore(const compute::KvLayout& layout,
                std::int32_t block_count,
                std::shared_ptr<Stream> stream)
        : layout_(layout),
          block_count_(block_count),
          stream_(std::move(stream)) {}

    [[nodiscard]] std::int64_t block_bytes() const;

    compute::KvLayout layout_;
    std::int32_t block_count_;
    std::shared_ptr<Stream> stream_;
    DeviceBuffer memory_;
    Result<void> copied_;  ///< the first error since it was asked for
};

}  // namespace hearth::cuda
