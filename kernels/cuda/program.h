// CudaProgram: a Plan's launches, the memory they work in, and a captured graph for each bucket of
// small steps. A step is one upload of its tables, one graph (or, for prefill, the launches
// themselves), and one copy back: of the logits asked for, or of the tokens picked from them where
// steps are launched ahead. A graph picks them too, but for rows that may not have every token.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include <cuda_runtime.h>

#include "core/base/result.h"
#include "core/compute/backend.h"
#include "core/compute/step_check.h"
#include "kernels/cuda/buckets.h"
#include "kernels/cuda/compile.h"
#include "kernels/cuda/guarded.h"
#include "kernels/cuda/kv_store.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/sample.h"
#include "kernels/cuda/step.h"
#include "kernels/cuda/weights.h"

namespace hearth::cuda {

struct ProgramOptions {
    bool is_exact = false;     ///< activations stay floats
    bool has_graphs = true;    ///< small steps are captured
    bool has_overlap = false;  ///< kernels start before their predecessors have ended
    bool has_bf16 = true;      ///< tensor cores multiply BF16
};

class CudaProgram final : public compute::Program, public compute::StepQueue {
  public:
    /// `weights` outlives the result.   Errors: out_of_memory, unsupported, internal.
    static Result<std::unique_ptr<compute::Program>> make(const compute::Plan& plan,
                                                          const CudaWeights& weights,
                                                          const ProgramOptions& options,
                                                          std::shared_ptr<Stream> stream);

    Result<compute::StepOutput> run(const compute::StepBatch& batch,
                                    compute::KvStore& kv) override {
        return guarded("a step", [&] { return run_step(batch, kv); });
    }
    [[nodiscard]] std::int64_t bytes_per_token() const override { return bytes_per_token_; }
    [[nodiscard]] std::int64_t kernels_per_run() const override { return last_kernels_; }
    [[nodiscard]] compute::ExpertUses expert_uses() const override {
        return experts_ == nullptr ? compute::ExpertUses{} : experts_->uses();
    }

    compute::StepQueue* step_queue() override { return this; }
    /// Also: too_large (more rows to pick from than logits are computed at once).
    Result<void> launch(const compute::StepBatch& batch,
                        std::span<const compute::PickOrder> orders,
                        compute::KvStore& kv) override {
        return guarded("a step", [&] { return launch_ahead(batch, orders, kv); });
    }
    Result<std::span<const compute::Pick>> collect() override;

  private:
    /// Offsets of the step's tables, the same on host and device.
    struct TableLayout {
        std::int64_t tokens = 0, positions = 0, table_begin = 0, logit_rows = 0, orders = 0,
                     block_tables = 0;
        std::int64_t block_tables_max = 0;  ///< entries
        std::int64_t bytes = 0;
    };
    /// What the host keeps of a step until it has ended.
    struct StepSlot {
        PinnedBuffer tables;
        PinnedBuffer picks;    ///< (logit_rows_max_)
        PinnedBuffer masks;    ///< (logit_rows_max_, mask_words)
        PinnedBuffer experts;  ///< what the store of experts keeps; empty without one
        PinnedBuffer rows_in;  ///< empty: the Plan takes none in
        Event end;
        std::size_t rows = 0;  ///< picked
    };
    struct GraphFree {
        void operator()(cudaGraphExec_t graph) const { cudaGraphExecDestroy(graph); }
    };
    using Graph = std::unique_ptr<std::remove_pointer_t<cudaGraphExec_t>, GraphFree>;

    CudaProgram(const compute::Plan& plan,
                const CudaWeights& weights,
                const ProgramOptions& options,
                std::shared_ptr<Stream> stream)
        : tokens_max_(plan.tokens_max),
          vocab_size_(plan.vocab_size),
          rows_in_dim_(plan.rows_in.dim),
          rows_out_dim_(plan.rows_out.dim),
          kv_layout_(plan.kv),
          experts_(weights.experts()),
          stream_(std::move(stream)),
          queue_(stream_->get(), options.has_overlap, options.has_bf16) {}

    Result<void> take_memory(const compute::Plan& plan,
                             const CudaWeights& weights,
                             const ProgramOptions& options);
    Result<compute::StepOutput> run_step(const compute::StepBatch& batch, compute::KvStore& kv);
    Result<void> launch_ahead(const compute::StepBatch& batch,
                              std::span<const compute::PickOrder> orders,
                              compute::KvStore& kv);
    Result<void> capture_graphs(std::int32_t positions_max);
    Result<void> capture(const Bucket& bucket);
    Result<void> launch_nodes(const StepShape& shape);
    /// Queues the kernels of a step, by its graph or one by one, and what its experts need.
    Result<void> launch_step(int graph, const StepShape& shape);
    Result<void> take_slots();
    [[nodiscard]] compute::StepLimits limits(const CudaKvStore& kv, std::int32_t rows = 0) const;
    /// The graph that serves a step; none: it is launched kernel by kernel.
    [[nodiscard]] int find_graph(const compute::StepBatch& batch,
                                 std::span<const ExpandedRun> expanded_runs) const;
    [[nodiscard]] std::vector<ExpandedRun> expanded_runs_of(const compute::StepBatch& batch) const;
    struct TableRows {
        int tokens = 0;  ///< filled up to so many
        int picks = 0;   ///< that a graph makes
    };
    Result<void> upload_tables(const compute::StepBatch& batch,
                               const CudaKvStore& kv,
                               const TableRows& rows);
    Result<void> upload_rows(std::span<const float> rows, int tokens);
    Result<bool> upload_masks(std::span<const compute::PickOrder> orders);
    Result<compute::StepOutput> read_logits(std::int64_t rows);
    Result<compute::StepOutput> run_eagerly(const StepShape& launched, std::int64_t logit_rows);

    [[nodiscard]] std::int64_t row_bytes_of(std::int64_t dim) const {
        return tokens_max_ * dim * static_cast<std::int64_t>(sizeof(float));
    }

    template <typename T>
    [[nodiscard]] T* table(std::int64_t offset) {
        return reinterpret_cast<T*>(slots_[slot_].tables.data() + offset);
    }

    // Fixed after construction.
    const std::int32_t tokens_max_;
    const std::int64_t vocab_size_;
    const std::int64_t rows_in_dim_, rows_out_dim_;  ///< 0: none
    const compute::KvLayout kv_layout_;
    ExpertStore* const experts_;  ///< the weights'; null: all are on the device
    const std::shared_ptr<Stream> stream_;
    const Queue queue_;
    std::int64_t bytes_per_token_ = 0;
    std::int64_t logit_rows_max_ = 0;  ///< computed at once
    TableLayout layout_;
    CompiledPlan compiled_;
    std::vector<Bucket> buckets_;
    std::vector<Graph> graphs_;          ///< by bucket
    std::vector<std::int64_t> kernels_;  ///< of each graph

    // Memory of a step.
    DeviceBuffer workspace_;
    std::array<StepSlot, kStepsMax> slots_;
    std::size_t slot_ = 0;           ///< of the step that is filled
    std::size_t in_flight_ = 0;      ///< slots before it that are launched and not collected
    std::int64_t last_kernels_ = 0;  ///< 0: the last step had no graph
    PickArgs pick_args_;
    PinnedBuffer logits_;  ///< (logit_rows_max_, vocab_size)
    PinnedBuffer rows_out_;
    std::unique_ptr<float[]>
        all_logits_;  ///< (tokens_max, vocab_size), touched where many are wanted
    std::byte* device_tables_ = nullptr;
    std::uint32_t* device_masks_ = nullptr;
};

}  // namespace hearth::cuda
