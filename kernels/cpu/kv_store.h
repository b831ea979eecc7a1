// The CPU backend's cache: rows of halves, of Q8_0 blocks in about half the memory, or of floats
// for comparisons, by layer, block and slot. Each row is rounded by itself when it is stored;
// scores and sums are computed in float. What is beyond the range of its type becomes infinite.
// Rows of halves or Q8_0 that would be rounded to integers whenever they are read are kept as those
// (KvLayout::rounded_latent_dim), where the instruction set multiplies them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "core/base/result.h"
#include "core/compute/backend.h"
#include "kernels/cpu/kernels.h"

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
    /// Index into Kernels::store_row and attend.
    [[nodiscard]] std::size_t type() const {
        const bool is_float = layout_.dtype == compute::Dtype::f32;
        const bool is_q8 = layout_.dtype == compute::Dtype::q8_0;
        return static_cast<std::size_t>(is_float ? CacheType::f32
                                        : is_q8  ? CacheType::q8_0
                                                 : CacheType::f16);
    }
    /// Whether the keys of a block are a rounded block, as mix_rounded takes it.
    [[nodiscard]] bool is_rounded() const { return is_rounded_; }
    [[nodiscard]] std::int64_t key_row_bytes() const { return key_row_bytes_; }
    [[nodiscard]] std::int64_t value_row_bytes() const { return value_row_bytes_; }
    [[nodiscard]] std::int64_t key_block_bytes() const { return key_block_bytes_; }
    /// The key rows of a block: kBlockTokens of key_row_bytes(), or a rounded block.
    [[nodiscard]] std::byte* keys(std::int32_t layer, std::int32_t block) {
        return first_ + block_offset(layer, block);
    }
    /// The value rows of a block: kBlockTokens of value_row_bytes().
    [[nodiscard]] std::byte* values(std::int32_t layer, std::int32_t block) {
        return keys(layer, block) + key_block_bytes_;
    }

  private:
    struct Free {
        void operator()(std::byte* memory) const { std::free(memory); }
    };

    CpuKvStore(const compute::KvLayout& layout, std::int32_t block_count, bool is_rounded);

    /// Bytes of a block in one layer.
    [[nodiscard]] std::int64_t block_bytes() const {
        return key_block_bytes_ + compute::kBlockTokens * value_row_bytes_;
    }
    [[nodiscard]] std::int64_t block_offset(std::int32_t layer, std::int32_t block) const {
        return (static_cast<std::int64_t>(layer) * block_count_ + block) * block_bytes();
    }

    compute::KvLayout layout_;
    std::int32_t block_count_;
    bool is_rounded_;
    std::int64_t key_row_bytes_, value_row_bytes_, key_block_bytes_;
    std::unique_ptr<std::byte, Free> memory_;
    /// (layer_count, block_count), on a cache line: the key rows of a block, then its value rows.
    std::byte* first_ = nullptr;
};

}  // namespace hearth::cpu
