// The CPU backend's cache: halves by layer, block and slot. Half precision halves the memory and
// the bytes that attention reads; scores and sums are computed in float. Keys or values beyond the
// range of a half become infinite.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "core/base/result.h"
#include "core/compute/backend.h"

namespace hearth::cpu {

class CpuKvStore final : public compute::KvStore {
  public:
    /// Errors: invalid_argument, out_of_memory.
    static Result<std::unique_ptr<compute::KvStore>> make(const compute::KvLayout& layout,
                                                          std::int32_t block_count);

    [[nodiscard]] std::int32_t block_count() const override { return block_count_; }
    [[nodiscard]] std::int64_t size_bytes() const override;
    void copy_block(std::int32_t from, std::int32_t to) override;

    [[nodiscard]] const compute::KvLayout& layout() const { return layout_; }
    /// The key rows of a block: (kBlockTokens, key_dim).
    [[nodiscard]] std::uint16_t* keys(std::int32_t layer, std::int32_t block) {
        return memory_.get() + block_offset(layer, block);
    }
    /// The value rows of a block: (kBlockTokens, value_dim).
    [[nodiscard]] std::uint16_t* values(std::int32_t layer, std::int32_t block) {
        return keys(layer, block) + compute::kBlockTokens * layout_.key_dim;
    }

  private:
    struct Free {
        void operator()(std::uint16_t* memory) const { std::free(memory); }
    };

    CpuKvStore(const compute::KvLayout& layout, std::int32_t block_count)
        : layout_(layout),
          block_count_(block_count) {}

    /// Elements of a block in one layer.
    [[nodiscard]] std::int64_t block_elements() const {
        return compute::kBlockTokens * (layout_.key_dim + layout_.value_dim);
    }
    [[nodiscard]] std::int64_t block_offset(std::int32_t layer, std::int32_t block) const {
        return (static_cast<std::int64_t>(layer) * block_count_ + block) * block_elements();
    }

    compute::KvLayout layout_;
    std::int32_t block_count_;
    /// (layer_count, block_count, kBlockTokens * key_dim then kBlockTokens * value_dim)
    std::unique_ptr<std::uint16_t, Free> memory_;
};

}  // namespace hearth::cpu
