// The reference backend's cache: F32 rows by layer, block and slot. In place of F16 it rounds
// nothing, or to halves where it is asked to; in place of Q8_0 it holds what is left of a row that
// was stored as such, as floats or as halves.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

#include "core/base/result.h"
#include "core/compute/backend.h"

namespace hearth::reference {

struct CacheRow {
    std::int32_t block;
    std::int32_t slot;  ///< token within the block
};

class ReferenceKvStore final : public compute::KvStore {
  public:
    /// Errors: invalid_argument, out_of_memory.
    static Result<std::unique_ptr<ReferenceKvStore>> make(const compute::KvLayout& layout,
                                                          std::int32_t block_count,
                                                          bool rounds_to_halves = false);

    [[nodiscard]] std::int32_t block_count() const override { return block_count_; }
    [[nodiscard]] std::int64_t size_bytes() const override;
    void copy_block(std::int32_t from, std::int32_t to) override;

    [[nodiscard]] const compute::KvLayout& layout() const { return layout_; }
    [[nodiscard]] std::span<const float> key(std::int32_t layer, CacheRow row) const {
        return {rows_.get() + offset(layer, row), static_cast<std::size_t>(layout_.key_dim)};
    }
    [[nodiscard]] std::span<const float> value(std::int32_t layer, CacheRow row) const {
        return {rows_.get() + offset(layer, row) + layout_.key_dim,
                static_cast<std::size_t>(layout_.value_dim)};
    }
    /// `values` has as many elements as the layout says.
    void store_key(std::int32_t layer, CacheRow row, std::span<const float> values) {
        store(rows_.get() + offset(layer, row), values);
    }
    void store_value(std::int32_t layer, CacheRow row, std::span<const float> values) {
        store(rows_.get() + offset(layer, row) + layout_.key_dim, values);
    }
    /// One float per position that the cache can hold: scratch of attention.
    [[nodiscard]] std::span<float> scores() {
        return {scores_.get(), static_cast<std::size_t>(block_count_ * compute::kBlockTokens)};
    }

  private:
    struct Free {
        void operator()(float* memory) const { std::free(memory); }
    };
    using Memory = std::unique_ptr<float, Free>;

    ReferenceKvStore(const compute::KvLayout& layout,
                     std::int32_t block_count,
                     bool rounds_to_halves);

    void store(float* row, std::span<const float> values) const;
    /// Elements of one token in one layer: its key, then its value.
    [[nodiscard]] std::int64_t row_dim() const { return layout_.key_dim + layout_.value_dim; }
    [[nodiscard]] std::int64_t offset(std::int32_t layer, CacheRow row) const {
        const std::int64_t block = static_cast<std::int64_t>(layer) * block_count_ + row.block;
        return (block * compute::kBlockTokens + row.slot) * row_dim();
    }

    compute::KvLayout layout_;
    std::int32_t block_count_;
    bool rounds_to_halves_;
    Memory rows_;  ///< (layer_count, block_count, kBlockTokens, key_dim + value_dim)
    Memory scores_;
};

}  // namespace hearth::reference
