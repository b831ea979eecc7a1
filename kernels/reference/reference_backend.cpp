#include "kernels/reference/reference_backend.h"

#include <algorithm>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "core/base/assert.h"
#include "core/base/thread.h"
#include "core/compute/step_check.h"
#include "kernels/reference/kv_store.h"
#include "kernels/reference/operations.h"
#include "kernels/reference/quantize.h"

namespace hearth::reference {
namespace {

using compute::kNone;
using compute::Plan;
using compute::Slice;
using compute::StepBatch;
using compute::Tensor;
using compute::WeightId;

class ReferenceWeights final : public compute::DeviceWeights {
  public:
    explicit ReferenceWeights(std::span<const Tensor> weights)
        : tensors_(weights.begin(), weights.end()) {}

    [[nodiscard]] std::span<const Tensor> tensors() const { return tensors_; }

  private:
    std::vector<Tensor> tensors_;
};

/// Elements of scratch that a Plan needs; see Scratch.
struct ScratchSizes {
    std::int64_t row = 0;
    std::int64_t hidden = 0;
    std::int64_t latent = 0;
    std::int64_t rounded = 0;
};

ScratchSizes scratch_sizes(const Plan& plan, std::span<const Tensor> weights) {
    ScratchSizes sizes;
    for (const Tensor& weight : weights) {
        sizes.row = std::max(sizes.row, weight.shape.dim(-1));
    }
    for (const compute::Operation& operation : plan.operations) {
        if (const auto* route = std::get_if<compute::RouteTopK>(&operation)) {
            sizes.row = std::max(sizes.row, 3 * route->logits.dim);
        } else if (const auto* experts = std::get_if<compute::Experts>(&operation)) {
            const Tensor& gate = weights[static_cast<std::size_t>(experts->gate)];
            sizes.hidden = std::max(sizes.hidden, plan.tokens_max * gate.shape.dim(1));
        } else if (const auto* mla = std::get_if<compute::AttentionMla>(&operation)) {
            sizes.latent = std::max(sizes.latent, plan.tokens_max * mla->heads * mla->latent_dim);
            sizes.rounded = std::max(sizes.rounded, mla->q.dim);
        }
    }
    sizes.rounded = plan.tokens_max * std::max(sizes.rounded, sizes.row);
    return sizes;
}

class ReferenceProgram final : public compute::Program {
  public:
    ReferenceProgram(Plan plan, std::span<const Tensor> weights, const ReferenceOptions& options)
        : plan_(std::move(plan)),
          weights_(weights),
          options_(options) {
        for (const compute::Value& value : plan_.values) {
            const auto size = static_cast<std::size_t>(plan_.tokens_max * value.dim);
            const bool is_float = value.dtype == compute::Dtype::f32;
            floats_.emplace_back(is_float ? size : 0);
            ints_.emplace_back(is_float ? 0 : size);
        }
        const ScratchSizes sizes = scratch_sizes(plan_, weights_);
        row_.resize(static_cast<std::size_t>(sizes.row));
        hidden_.resize(static_cast<std::size_t>(sizes.hidden));
        latent_.resize(static_cast<std::size_t>(sizes.latent));
        if (options.rounds_activations || options.rounds_latents) {
            rounded_.resize(static_cast<std::size_t>(sizes.rounded));
        }
        // Not a vector: rows that no step asks for are never touched.
        logits_ = std::make_unique_for_overwrite<float[]>(
            static_cast<std::size_t>(plan_.tokens_max * plan_.vocab_size));
    }

    Result<compute::StepOutput> run(const StepBatch& batch, compute::KvStore& kv) override {
        assert_on(Thread::engine);
        auto* store = dynamic_cast<ReferenceKvStore*>(&kv);
        HEARTH_ASSERT(store != nullptr);
        HEARTH_ASSERT(store->layout() == plan_.kv);
        check_step(batch,
                   {.tokens_max = plan_.tokens_max,
                    .vocab_size = plan_.vocab_size,
                    .block_count = store->block_count(),
                    .rows_in_dim = plan_.rows_in.dim});
        batch_ = &batch;
        kv_ = store;
        scratch_ = {row_, hidden_, latent_, store->scores()};
        if (plan_.rows_in.id != kNone) {
            std::ranges::copy(batch.rows, floats(plan_.rows_in).data);
        }
        for (const compute::Operation& operation : plan_.operations) {
            std::visit([this](const auto& each) { step(each); }, operation);
        }
        compute::StepOutput output{
            {logits_.get(), batch.logit_rows.size() * static_cast<std::size_t>(plan_.vocab_size)}};
        if (plan_.rows_out.id != kNone) {
            const Floats rows = floats(plan_.rows_out);
            output.rows = {rows.data, static_cast<std::size_t>(rows.rows * rows.dim)};
        }
        return output;
    }

    [[nodiscard]] std::int64_t bytes_per_token() const override {
        return weight_bytes_per_token(plan_, weights_);
    }

  private:
    void step(const compute::Embed& op) {
        embed(op, batch_->tokens, weight(op.table), floats(op.out));
    }
    void step(const compute::RmsNorm& op) {
        rms_norm(op, floats(op.x), weight(op.weight), floats(op.out));
    }
    void step(const compute::Project& op) {
        project(input_of(op.x, rounds(op.weight)),
                weight(op.weight),
                optional_weight(op.bias),
                floats(op.residual),
                floats(op.out),
                scratch_);
    }
    void step(const compute::Rope& op) { rope(op, batch_->positions, floats(op.x)); }
    void step(const compute::AttentionGqa& op) {
        attention_gqa(op,
                      {.q = floats(op.q), .k = floats(op.k), .v = floats(op.v)},
                      places(),
                      *kv_,
                      floats(op.out),
                      scratch_);
    }
    void step(const compute::AttentionMla& op) {
        if (op.out.id == kNone) return store_latent(op, floats(op.latent), places(), *kv_);
        attention_mla(op,
                      {.q = rounds_latents(op.k_up) ? rounded_queries(op) : floats(op.q),
                       .latent = floats(op.latent),
                       .k_up = weight(op.k_up),
                       .v_up = weight(op.v_up),
                       .rounds_attention = rounds_latents(op.k_up),
                       .rounds_mixed = rounds_latents(op.v_up)},
                      places(),
                      *kv_,
                      floats(op.out),
                      scratch_);
    }
    void step(const compute::RouteTopK& op) {
        route_top_k(op,
                    floats(op.logits),
                    optional_weight(op.bias),
                    ints(op.experts),
                    floats(op.weights),
                    scratch_);
    }
    void step(const compute::Experts& op) {
        experts({.x = input_of(op.x, rounds(op.gate) && rounds(op.up)),
                 .experts = ints(op.experts),
                 .weights = floats(op.weights),
                 .gate = weight(op.gate),
                 .up = weight(op.up),
                 .down = weight(op.down),
                 .rounds_hidden = rounds(op.down)},
                floats(op.residual),
                floats(op.out),
                scratch_);
    }
    void step(const compute::Swiglu& op) { swiglu(floats(op.gate), floats(op.up), floats(op.out)); }
    void step(const compute::Add& op) { add(floats(op.a), floats(op.b), floats(op.out)); }
    void step(const compute::Logits& op) {
        const Floats out{.data = logits_.get(),
                         .rows = static_cast<std::int64_t>(batch_->logit_rows.size()),
                         .dim = plan_.vocab_size,
                         .stride = plan_.vocab_size};
        logits(op,
               input_of(op.x, rounds(op.weight)),
               batch_->logit_rows,
               weight(op.weight),
               out,
               scratch_);
    }

    template <typename T>
    View<T> view(std::vector<std::vector<T>>& values, const Slice& slice) {
        if (slice.id == kNone) return {};
        const auto id = static_cast<std::size_t>(slice.id);
        return {.data = values[id].data() + slice.offset,
                .rows = static_cast<std::int64_t>(batch_->tokens.size()),
                .dim = slice.dim,
                .stride = plan_.values[id].dim};
    }
    Floats floats(const Slice& slice) { return view(floats_, slice); }
    Ints ints(const Slice& slice) { return view(ints_, slice); }
    [[nodiscard]] const Tensor& weight(WeightId id) const {
        return weights_[static_cast<std::size_t>(id)];
    }
    [[nodiscard]] const Tensor* optional_weight(WeightId id) const {
        return id == kNone ? nullptr : &weight(id);
    }
    [[nodiscard]] bool rounds(WeightId id) const {
        return options_.rounds_activations && is_quantised(id);
    }
    [[nodiscard]] bool rounds_latents(WeightId id) const {
        return options_.rounds_latents && is_quantised(id);
    }
    [[nodiscard]] bool is_quantised(WeightId id) const {
        return compute::traits(weight(id).dtype).is_quantised;
    }
    /// What a product reads: the slice, or a rounded copy that lasts until the next one.
    Floats input_of(const Slice& slice, bool is_rounded) {
        const Floats x = floats(slice);
        if (!is_rounded) return x;
        const Floats copy = copy_for(x);
        for (std::int64_t t = 0; t < x.rows; ++t) {
            round_activations(x.row(t), copy.row(t));
        }
        return copy;
    }
    /// The same for queries, each head's part in front of its rotated one rounded.
    Floats rounded_queries(const compute::AttentionMla& op) {
        const Floats q = floats(op.q);
        const Floats copy = copy_for(q);
        const auto nope_dim = static_cast<std::size_t>(op.nope_dim);
        for (std::int64_t t = 0; t < q.rows; ++t) {
            std::ranges::copy(q.row(t), copy.row(t).begin());
            for (std::int64_t head = 0; head < op.heads; ++head) {
                const auto begin = static_cast<std::size_t>(head * (op.nope_dim + op.rope_dim));
                const auto part = copy.row(t).subspan(begin, nope_dim);
                round_activations(part, part);
            }
        }
        return copy;
    }
    Floats copy_for(const Floats& x) {
        return {.data = rounded_.data(), .rows = x.rows, .dim = x.dim, .stride = x.dim};
    }
    [[nodiscard]] StepPlaces places() const {
        return {batch_->positions, batch_->sequence_of, batch_->sequences};
    }

    // Fixed after construction.
    Plan plan_;
    std::span<const Tensor> weights_;
    const ReferenceOptions options_;

    // Engine thread only.
    std::vector<std::vector<float>> floats_;       ///< by value: (tokens_max, dim); empty for I32
    std::vector<std::vector<std::int32_t>> ints_;  ///< by value: (tokens_max, dim); empty for F32
    std::vector<float> row_, hidden_, latent_;     ///< what scratch_ points to
    std::vector<float> rounded_;                   ///< (tokens_max, what a product reads)
    std::unique_ptr<float[]> logits_;              ///< (tokens_max, vocab_size)
    Scratch scratch_;
    const StepBatch* batch_ = nullptr;  ///< of the step that runs
    ReferenceKvStore* kv_ = nullptr;    ///< of the step that runs
};

class ReferenceBackend final : public compute::Backend {
  public:
    explicit ReferenceBackend(const ReferenceOptions& options) : options_(options) {}

    [[nodiscard]] std::string_view name() const override { return "reference"; }
    [[nodiscard]] std::string description() const override { return "1 thread, plain loops"; }

    [[nodiscard]] bool has_cache_type(compute::Dtype dtype) const override {
        return dtype == compute::Dtype::f16 || dtype == compute::Dtype::q8_0 ||
               dtype == compute::Dtype::f32;
    }

    [[nodiscard]] bool passes_rows() const override { return true; }

    Result<std::unique_ptr<compute::DeviceWeights>> upload(
        std::span<const Tensor> weights) override {
        return std::unique_ptr<compute::DeviceWeights>(std::make_unique<ReferenceWeights>(weights));
    }

    Result<std::unique_ptr<compute::Program>> compile(const Plan& plan,
                                                      compute::DeviceWeights& weights) override {
        auto* own = dynamic_cast<ReferenceWeights*>(&weights);
        HEARTH_ASSERT(own != nullptr);
        try {
            return std::unique_ptr<compute::Program>(
                std::make_unique<ReferenceProgram>(plan, own->tensors(), options_));
        } catch (const std::bad_alloc&) {
            return fail(ErrorCode::out_of_memory,
                        "no memory for the activations of " + std::to_string(plan.tokens_max) +
                            " tokens; ask for fewer tokens per step",
                        "reference");
        }
    }

    Result<std::unique_ptr<compute::KvStore>> make_kv_store(const compute::KvLayout& layout,
                                                            std::int32_t block_count) override {
        HEARTH_TRY(auto store,
                   ReferenceKvStore::make(layout, block_count, options_.rounds_activations));
        return std::unique_ptr<compute::KvStore>(std::move(store));
    }

  private:
    const ReferenceOptions options_;
};

}  // namespace

std::unique_ptr<compute::Backend> make_reference_backend(const ReferenceOptions& options) {
    return std::make_unique<ReferenceBackend>(options);
}

}  // namespace hearth::reference
