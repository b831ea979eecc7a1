#include "kernels/cuda/program.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "core/base/assert.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/compile_attention.h"

namespace hearth::cuda {
namespace {

/// Rows of logits that are computed at once; more are computed in pieces.
constexpr std::int64_t kLogitRowsMax = 64;
/// Room for block tables: as many blocks for each token of a step, and at least so many in all.
constexpr std::int64_t kTableBlocksPerToken = 256;
constexpr std::int64_t kTableBlocksMin = std::int64_t{1} << 18;

std::int64_t align(std::int64_t bytes) {
    constexpr std::int64_t kAlignment = 256;
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

Result<std::unique_ptr<compute::Program>> CudaProgram::make(const compute::Plan& plan,
                                                            const CudaWeights& weights,
                                                            const ProgramOptions& options,
                                                            std::shared_ptr<Stream> stream) {
    HEARTH_CHECK(stream->enter());
    std::unique_ptr<CudaProgram> program(
        new CudaProgram(plan, weights, options, std::move(stream)));
    program->bytes_per_token_ = compute::weight_bytes_per_token(plan, weights.tensors());
    HEARTH_CHECK(program->take_memory(plan, weights, options));
    if (options.has_graphs) HEARTH_CHECK(program->capture_graphs(plan.positions_max));
    return std::unique_ptr<compute::Program>(std::move(program));
}

Result<void> CudaProgram::take_memory(const compute::Plan& plan,
                                      const CudaWeights& weights,
                                      const ProgramOptions& options) {
    const SplitWidth width = split_width(plan);
    const auto split_bytes =
        static_cast<std::int64_t>(sizeof(float)) * (width.values + 2 * width.heads);
    logit_rows_max_ = std::min<std::int64_t>(plan.tokens_max, kLogitRowsMax);
    const auto row_bytes = align(tokens_max_ * static_cast<std::int64_t>(sizeof(std::int32_t)));
    layout_.tokens = align(sizeof(StepHeader));
    layout_.positions = layout_.tokens + row_bytes;
    layout_.table_begin = layout_.positions + row_bytes;
    layout_.logit_rows = layout_.table_begin + row_bytes;
    layout_.orders = layout_.logit_rows + row_bytes;
    layout_.block_tables =
        layout_.orders +
        align(logit_rows_max_ * static_cast<std::int64_t>(sizeof(compute::PickOrder)));
    layout_.block_tables_max =
        std::max(kTableBlocksMin, kTableBlocksPerToken * std::int64_t{tokens_max_});
    layout_.bytes = layout_.block_tables +
                    layout_.block_tables_max * static_cast<std::int64_t>(sizeof(std::int32_t));

    const CompileOptions compile_options{
        .is_exact = options.is_exact,
        .split_rows_max = split_rows_max(tokens_max_, plan.positions_max, split_bytes),
        .logit_rows_max = logit_rows_max_};
    Workspace measure;
    measure.take<std::byte>(layout_.bytes);
    measure.take<compute::Pick>(logit_rows_max_);
    measure.take<std::uint32_t>(logit_rows_max_ * compute::mask_words(vocab_size_));
    const int slices = slices_of(static_cast<int>(vocab_size_));
    measure.take<PickSlice>(logit_rows_max_ * slices);
    HEARTH_TRY(const CompiledPlan counted,
               compile_plan(plan, weights, compile_options, StepTables{}, measure));
    HEARTH_TRY(
        workspace_,
        DeviceBuffer::make(measure.bytes(), "steps of " + std::to_string(tokens_max_) + " tokens"));
    HEARTH_CHECK(take_slots());
    HEARTH_TRY(
        logits_,
        PinnedBuffer::make(logit_rows_max_ * vocab_size_ * static_cast<std::int64_t>(sizeof(float)),
                           "logits"));
    if (rows_out_dim_ > 0) {
        HEARTH_TRY(rows_out_, PinnedBuffer::make(row_bytes_of(rows_out_dim_), "rows of a step"));
    }
    Workspace place(workspace_.data());
    device_tables_ = place.take<std::byte>(layout_.bytes);
    auto* picks = place.take<compute::Pick>(logit_rows_max_);
    device_masks_ = place.take<std::uint32_t>(logit_rows_max_ * compute::mask_words(vocab_size_));
    auto* pick_slices = place.take<PickSlice>(logit_rows_max_ * slices);
    const auto at = [&](std::int64_t offset) {
        return reinterpret_cast<const std::int32_t*>(device_tables_ + offset);
    };
    const StepTables step{.header = reinterpret_cast<const StepHeader*>(device_tables_),
                          .tokens = at(layout_.tokens),
                          .picks = picks,
                          .positions = at(layout_.positions),
                          .table_begin = at(layout_.table_begin),
                          .logit_rows = at(layout_.logit_rows),
                          .block_tables = at(layout_.block_tables)};
    HEARTH_TRY(compiled_, compile_plan(plan, weights, compile_options, step, place));
    pick_args_ = {
        .logits = compiled_.logit_values,
        .orders = reinterpret_cast<const compute::PickOrder*>(device_tables_ + layout_.orders),
        .slices = pick_slices,
        .picks = picks,
        .vocab_size = static_cast<int>(vocab_size_)};
    for (const Constant& constant : compiled_.constants) {
        HEARTH_CUDA(cudaMemcpy(constant.device,
                               constant.values.data(),
                               constant.values.size() * sizeof(float),
                               cudaMemcpyHostToDevice));
    }
    all_logits_ = std::make_unique_for_overwrite<float[]>(
        tokens_max_ > logit_rows_max_ ? static_cast<std::size_t>(tokens_max_ * vocab_size_) : 0);
    return {};
}

Result<void> CudaProgram::take_slots() {
    for (StepSlot& slot : slots_) {
        HEARTH_TRY(slot.tables, PinnedBuffer::make(layout_.bytes, "the tables of a step"));
        HEARTH_TRY(
            slot.picks,
            PinnedBuffer::make(logit_rows_max_ * static_cast<std::int64_t>(sizeof(compute::Pick)),
                               "the tokens that a step picks"));
        HEARTH_TRY(slot.masks,
                   PinnedBuffer::make(logit_rows_max_ * compute::mask_words(vocab_size_) *
                                          static_cast<std::int64_t>(sizeof(std::uint32_t)),
                                      "what a step may pick"));
        if (experts_ != nullptr) {
            HEARTH_TRY(slot.experts,
                       PinnedBuffer::make(experts_->step_bytes(), "the experts of a step"));
        }
        if (rows_in_dim_ > 0) {
            HEARTH_TRY(slot.rows_in,
                       PinnedBuffer::make(row_bytes_of(rows_in_dim_), "rows of a step"));
        }
        HEARTH_TRY(slot.end, Event::make());
    }
    return {};
}

Result<void> CudaProgram::launch_nodes(const StepShape& shape) {
    // Experts on the host are told what each of their layers picks.
    const bool wants_logits = shape.logit_rows > 0 || experts_ != nullptr;
    for (const auto* nodes : {&compiled_.nodes, &compiled_.logits}) {
        for (const Node& node : *nodes) {
            if (shape.tokens == 1 && !node.serves_one) continue;
            if (node.serves_logits && !wants_logits) continue;
            HEARTH_CHECK(node.launch(shape, queue_));
        }
    }
    return {};
}

Result<void> CudaProgram::capture_graphs(std::int32_t positions_max) {
    for (const Bucket& bucket : make_buckets(tokens_max_, positions_max)) {
        auto captured = capture(bucket);
        if (captured) continue;
        Error error = captured.error();
        error.text = "the graph of a step of " + std::to_string(bucket.tokens) +
                     " tokens could not be made: " + error.text +
                     (error.code == ErrorCode::out_of_memory
                          ? "; use a smaller model, context or batch, or the cpu backend"
                          : "; HEARTH_CUDA_GRAPHS=0 does without graphs");
        return fail(std::move(error));
    }
    return {};
}

Result<void> CudaProgram::capture(const Bucket& bucket) {
    cudaStream_t stream = stream_->get();
    HEARTH_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    const auto launch_all = [&]() -> Result<void> {
        HEARTH_CHECK(launch_nodes({.tokens = bucket.tokens,
                                   .splits = bucket.splits,
                                   .logit_rows = bucket.tokens,
                                   .counts_logits = true}));
        PickArgs args = pick_args_;
        args.count = &reinterpret_cast<const StepHeader*>(device_tables_)->pick_count;
        return pick(args, bucket.tokens, queue_);
    };
    const Result<void> launched = launch_all();
    cudaGraph_t graph = nullptr;
    const cudaError_t ended = cudaStreamEndCapture(stream, &graph);
    const std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, decltype(&cudaGraphDestroy)> owner(
        graph, &cudaGraphDestroy);
    HEARTH_CHECK(launched);
    HEARTH_CHECK(cuda::check(ended, "cudaStreamEndCapture", __FILE__, __LINE__));
    cudaGraphExec_t exec = nullptr;
    HEARTH_CUDA(cudaGraphInstantiate(&exec, graph, 0));
    graphs_.emplace_back(exec);
    std::size_t kernels = 0;
    HEARTH_CUDA(cudaGraphGetNodes(graph, nullptr, &kernels));
    kernels_.push_back(static_cast<std::int64_t>(kernels));
    buckets_.push_back(bucket);
    HEARTH_CUDA(cudaGraphUpload(exec, stream));
    return {};
}

Result<compute::StepOutput> CudaProgram::run_step(const compute::StepBatch& batch,
                                                  compute::KvStore& kv) {
    auto* store = dynamic_cast<CudaKvStore*>(&kv);
    HEARTH_ASSERT(store != nullptr && in_flight_ == 0);
    HEARTH_CHECK(stream_->enter());
    compute::check_step(batch, limits(*store));
    HEARTH_CHECK(store->take_copy_error());
    const int tokens = static_cast<int>(batch.tokens.size());
    const auto logit_rows = static_cast<std::int64_t>(batch.logit_rows.size());
    const auto expanded_runs = expanded_runs_of(batch);
    const int found = find_graph(batch, expanded_runs);
    const auto index = static_cast<std::size_t>(std::max(found, 0));
    HEARTH_CHECK(
        upload_tables(batch, *store, {.tokens = found < 0 ? tokens : buckets_[index].tokens}));
    const StepShape shape{.tokens = tokens,
                          .splits = 0,
                          .logit_rows = static_cast<int>(std::min(logit_rows, logit_rows_max_)),
                          .expanded_runs = expanded_runs};
    HEARTH_CHECK(launch_step(found, shape));
    const auto row_floats = static_cast<std::size_t>(tokens * rows_out_dim_);
    if (row_floats > 0) {
        HEARTH_CUDA(cudaMemcpyAsync(rows_out_.data(),
                                    compiled_.rows_out,
                                    row_floats * sizeof(float),
                                    cudaMemcpyDeviceToHost,
                                    stream_->get()));
    }
    auto output = found < 0 ? run_eagerly(shape, logit_rows) : read_logits(logit_rows);
    if (output && experts_ != nullptr) experts_->note_step(slots_[slot_].experts.data());
    if (output) output->rows = {reinterpret_cast<const float*>(rows_out_.data()), row_floats};
    return output;
}

Result<void> CudaProgram::launch_step(int graph, const StepShape& shape) {
    std::byte* memory = slots_[slot_].experts.data();
    if (experts_ != nullptr) HEARTH_CHECK(experts_->begin_step(memory, stream_->get()));
    last_kernels_ = graph < 0 ? 0 : kernels_[static_cast<std::size_t>(graph)];
    if (graph < 0) {
        HEARTH_CHECK(launch_nodes(shape));
    } else {
        HEARTH_CUDA(
            cudaGraphLaunch(graphs_[static_cast<std::size_t>(graph)].get(), stream_->get()));
    }
    if (experts_ != nullptr) HEARTH_CHECK(experts_->end_step(memory, stream_->get()));
    return {};
}

/// `rows` rows of the step before may be named as tokens.
compute::StepLimits CudaProgram::limits(const CudaKvStore& kv, std::int32_t rows) const {
    HEARTH_ASSERT(kv.layout() == kv_layout_);
    return {.tokens_max = tokens_max_,
            .vocab_size = vocab_size_,
            .block_count = kv.block_count(),
            .token_least = -rows,
            .rows_in_dim = rows_in_dim_};
}

std::vector<ExpandedRun> CudaProgram::expanded_runs_of(const compute::StepBatch& batch) const {
    return compiled_.expands ? find_expanded_runs(batch) : std::vector<ExpandedRun>();
}

/// Graphs absorb.
int CudaProgram::find_graph(const compute::StepBatch& batch,
                            std::span<const ExpandedRun> expanded_runs) const {
    if (!expanded_runs.empty()) return -1;
    if (static_cast<std::int64_t>(batch.logit_rows.size()) > logit_rows_max_) return -1;
    const int splits = *std::ranges::max_element(batch.positions) / kSplitTokens + 1;
    return find_bucket(buckets_, static_cast<int>(batch.tokens.size()), splits);
}

Result<void> CudaProgram::launch_ahead(const compute::StepBatch& batch,
                                       std::span<const compute::PickOrder> orders,
                                       compute::KvStore& kv) {
    auto* store = dynamic_cast<CudaKvStore*>(&kv);
    const auto rows = static_cast<int>(batch.logit_rows.size());
    HEARTH_ASSERT(store != nullptr && in_flight_ < kStepsMax);
    HEARTH_ASSERT(orders.size() == batch.logit_rows.size());
    HEARTH_CHECK(stream_->enter());
    StepSlot& last = slots_[(slot_ + kStepsMax - 1) % kStepsMax];
    compute::check_step(batch, limits(*store, static_cast<std::int32_t>(last.rows)));
    HEARTH_CHECK(store->take_copy_error());
    if (rows > logit_rows_max_) {
        return fail(ErrorCode::too_large,
                    "a step picks " + std::to_string(rows) + " tokens, and at most " +
                        std::to_string(logit_rows_max_) +
                        " are picked at once; lower the number of sequences",
                    "cuda");
    }
    StepSlot& slot = slots_[slot_];
    HEARTH_TRY(const bool has_masks, upload_masks(orders));
    const int tokens = static_cast<int>(batch.tokens.size());
    const auto expanded_runs = expanded_runs_of(batch);
    const int found = find_graph(batch, expanded_runs);
    const auto index = static_cast<std::size_t>(std::max(found, 0));
    // Masks are for few steps: their kernel is in no graph, and so the picks come after it.
    const bool is_picked_by_graph = found >= 0 && !has_masks;
    HEARTH_CHECK(upload_tables(batch,
                               *store,
                               {.tokens = found < 0 ? tokens : buckets_[index].tokens,
                                .picks = is_picked_by_graph ? rows : 0}));
    HEARTH_CHECK(launch_step(
        found,
        {.tokens = tokens, .splits = 0, .logit_rows = rows, .expanded_runs = expanded_runs}));
    if (rows > 0) {
        PickArgs args = pick_args_;
        args.has_masks = has_masks;
        if (!is_picked_by_graph) HEARTH_CHECK(pick(args, rows, queue_));
        HEARTH_CUDA(cudaMemcpyAsync(slot.picks.data(),
                                    pick_args_.picks,
                                    static_cast<std::size_t>(rows) * sizeof(compute::Pick),
                                    cudaMemcpyDeviceToHost,
                                    stream_->get()));
    }
    HEARTH_CUDA(cudaEventRecord(slot.end.get(), stream_->get()));
    slot.rows = static_cast<std::size_t>(rows);
    slot_ = (slot_ + 1) % kStepsMax;
    ++in_flight_;
    return {};
}

Result<std::span<const compute::Pick>> CudaProgram::collect() {
    HEARTH_ASSERT(in_flight_ > 0);
    const StepSlot& slot = slots_[(slot_ + kStepsMax - in_flight_) % kStepsMax];
    --in_flight_;
    HEARTH_CUDA(cudaEventSynchronize(slot.end.get()));
    if (experts_ != nullptr) experts_->note_step(slot.experts.data());
    return std::span(reinterpret_cast<const compute::Pick*>(slot.picks.data()), slot.rows);
}

/// Copies `rows` rows of logits back and waits for the step's end.
Result<compute::StepOutput> CudaProgram::read_logits(std::int64_t rows) {
    const auto count = static_cast<std::size_t>(rows * vocab_size_);
    auto* target = reinterpret_cast<float*>(logits_.data());
    if (rows > 0) {
        HEARTH_CUDA(cudaMemcpyAsync(target,
                                    compiled_.logit_values,
                                    count * sizeof(float),
                                    cudaMemcpyDeviceToHost,
                                    stream_->get()));
    }
    HEARTH_CUDA(cudaStreamSynchronize(stream_->get()));
    return compute::StepOutput{{target, count}};
}

/// The logits of a step without a graph: more tokens than the largest bucket, or more logits than
/// are computed at once.
Result<compute::StepOutput> CudaProgram::run_eagerly(const StepShape& launched,
                                                     std::int64_t logit_rows) {
    StepShape shape = launched;
    HEARTH_TRY(const compute::StepOutput first, read_logits(shape.logit_rows));
    if (logit_rows <= logit_rows_max_) return first;
    for (std::int64_t done = 0;;) {
        const auto size = static_cast<std::size_t>(shape.logit_rows * vocab_size_);
        std::memcpy(all_logits_.get() + done * vocab_size_, logits_.data(), size * sizeof(float));
        done += shape.logit_rows;
        if (done == logit_rows) break;
        shape.logit_first = static_cast<int>(done);
        shape.logit_rows = static_cast<int>(std::min(logit_rows - done, logit_rows_max_));
        for (const Node& node : compiled_.logits) {
            HEARTH_CHECK(node.launch(shape, queue_));
        }
        HEARTH_TRY(const compute::StepOutput piece, read_logits(shape.logit_rows));
        HEARTH_ASSERT(piece.logits.size() ==
                      static_cast<std::size_t>(shape.logit_rows * vocab_size_));
    }
    return compute::StepOutput{
        {all_logits_.get(), static_cast<std::size_t>(logit_rows * vocab_size_)}};
}

}  // namespace hearth::cuda
