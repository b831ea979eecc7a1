// What a step takes to the device: its tables, the rows that its Plan takes in, and what its rows
// may pick.
#include <algorithm>
#include <string>

#include "kernels/cuda/check.h"
#include "kernels/cuda/program.h"

namespace hearth::cuda {

using compute::kBlockTokens;

/// Fills the step's tables and sends them.
Result<void> CudaProgram::upload_tables(const compute::StepBatch& batch,
                                        const CudaKvStore& kv,
                                        const TableRows& rows) {
    const std::size_t tokens = batch.tokens.size();
    const std::size_t filled = static_cast<std::size_t>(rows.tokens) - tokens;
    *table<StepHeader>(0) = {.cache = kv.memory(),
                             .cache_blocks = kv.block_count(),
                             .logit_count = static_cast<std::int32_t>(batch.logit_rows.size()),
                             .pick_count = rows.picks};
    const auto fill = [&](std::int64_t offset, std::span<const std::int32_t> values, int rest) {
        auto* end = std::ranges::copy(values, table<std::int32_t>(offset)).out;
        std::fill_n(end, filled, rest);
    };
    fill(layout_.tokens, batch.tokens, 0);
    fill(layout_.positions, batch.positions, -1);
    std::ranges::copy(batch.logit_rows, table<std::int32_t>(layout_.logit_rows));
    auto* begins = table<std::int32_t>(layout_.table_begin);
    auto* blocks = table<std::int32_t>(layout_.block_tables);
    std::int64_t used = 0;
    std::int64_t begin = 0;
    for (std::size_t t = 0; t < tokens; ++t) {
        if (t == 0 || batch.sequence_of[t] != batch.sequence_of[t - 1]) {
            std::size_t last = t;
            while (last + 1 < tokens && batch.sequence_of[last + 1] == batch.sequence_of[t]) {
                ++last;
            }
            const auto sequence = static_cast<std::size_t>(batch.sequence_of[t]);
            const std::size_t needed =
                static_cast<std::size_t>(batch.positions[last]) / kBlockTokens + 1;
            begin = used;
            used += static_cast<std::int64_t>(needed);
            if (used > layout_.block_tables_max) {
                return fail(ErrorCode::too_large,
                            "the sequences of a step have more than " +
                                std::to_string(layout_.block_tables_max) +
                                " blocks; lower the context or the number of sequences",
                            "cuda");
            }
            std::ranges::copy(batch.sequences[sequence].block_table.first(needed), blocks + begin);
        }
        begins[t] = static_cast<std::int32_t>(begin);
    }
    std::fill_n(begins + tokens, filled, 0);
    const std::int64_t bytes =
        layout_.block_tables + used * static_cast<std::int64_t>(sizeof(std::int32_t));
    HEARTH_CUDA(cudaMemcpyAsync(device_tables_,
                                slots_[slot_].tables.data(),
                                static_cast<std::size_t>(bytes),
                                cudaMemcpyHostToDevice,
                                stream_->get()));
    return rows_in_dim_ > 0 ? upload_rows(batch.rows, rows.tokens) : Result<void>();
}

/// Those beyond the step's tokens are zeros: experts are chosen for them too.
Result<void> CudaProgram::upload_rows(std::span<const float> rows, int tokens) {
    auto* copies = reinterpret_cast<float*>(slots_[slot_].rows_in.data());
    const auto count = static_cast<std::size_t>(tokens * rows_in_dim_);
    std::fill(std::ranges::copy(rows, copies).out, copies + count, 0.0F);
    HEARTH_CUDA(cudaMemcpyAsync(
        compiled_.rows_in, copies, count * sizeof(float), cudaMemcpyHostToDevice, stream_->get()));
    return {};
}

/// Fills the table of orders. True: rows have masks, which are on their way.
Result<bool> CudaProgram::upload_masks(std::span<const compute::PickOrder> orders) {
    auto* copies = table<compute::PickOrder>(layout_.orders);
    auto* masks = reinterpret_cast<std::uint32_t*>(slots_[slot_].masks.data());
    const std::int64_t words = compute::mask_words(vocab_size_);
    std::int64_t used = 0;
    for (const compute::PickOrder& order : orders) {
        *copies = order;
        if (order.allowed != nullptr) {
            std::copy_n(order.allowed, words, masks + used);
            copies->allowed = device_masks_ + used;
            used += words;
        }
        ++copies;
    }
    if (used == 0) return false;
    HEARTH_CUDA(cudaMemcpyAsync(device_masks_,
                                masks,
                                static_cast<std::size_t>(used) * sizeof(std::uint32_t),
                                cudaMemcpyHostToDevice,
                                stream_->get()));
    return true;
}

}  // namespace hearth::cuda
