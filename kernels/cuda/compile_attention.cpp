#include "kernels/cuda/compile_attention.h"

#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "kernels/cuda/heads.h"
#include "kernels/cuda/project.h"
#include "kernels/cuda/rows.h"

namespace hearth::cuda {
namespace {

Failure refuse_attention(const std::string& why) {
    return fail(
        ErrorCode::unsupported,
        "the cuda backend cannot compute this model's attention: " + why + "; use the cpu backend",
        "cuda");
}

Result<void> check_dims(std::int64_t key_dim, std::int64_t value_dim) {
    if (key_dim > kAttentionKeyDimMax) {
        return refuse_attention("keys of " + std::to_string(key_dim) + " columns, at most " +
                                std::to_string(kAttentionKeyDimMax));
    }
    if (value_dim > kAttentionValueDimMax) {
        return refuse_attention("values of " + std::to_string(value_dim) + " columns, at most " +
                                std::to_string(kAttentionValueDimMax));
    }
    return {};
}

}  // namespace

AttentionCompiler::AttentionCompiler(const compute::Plan& plan,
                                     const CudaWeights& weights,
                                     const StepTables& step,
                                     std::int64_t split_rows_max,
                                     Workspace& workspace,
                                     Values& values,
                                     AttentionHooks hooks)
    : plan_(plan),
      weights_(weights),
      step_(step),
      workspace_(workspace),
      values_(values),
      hooks_(std::move(hooks)),
      partial_values_(workspace.take<float>(split_rows_max * split_width(plan).values)),
      partial_sums_(workspace.take<float2>(split_rows_max * split_width(plan).heads)) {}

void AttentionCompiler::prepare(const HeadsRun& run) {
    HeadsArgs args;
    for (const PlannedHeads& planned : run.jobs) {
        HeadJob& job = args.jobs[args.job_count++];
        job.x = values_.floats(planned.x);
        job.heads = static_cast<int>(planned.heads);
        job.head_dim = static_cast<int>(planned.head_dim);
        if (planned.norm != nullptr) {
            job.norm = weights_.vector(planned.norm->weight);
            job.epsilon = planned.norm->epsilon;
        }
        if (planned.rope != nullptr) {
            job.angles = hooks_.angles_of(*planned.rope);
            job.pairs = static_cast<int>(planned.rope->frequencies.size());
            job.rotate_offset = static_cast<int>(planned.rope->rotate_offset);
            job.is_interleaved = planned.rope->style == compute::RopeStyle::interleaved;
        }
        if (planned.stores_key) job.store = HeadJob::Store::key;
        if (planned.stores_value) job.store = HeadJob::Store::value;
        job.store_column = static_cast<int>(planned.store_column);
        if (planned.norm != nullptr || planned.rope != nullptr) values_.wrote(planned.x);
    }
    const compute::Operation& attention = plan_.operations[run.attention];
    const auto* gqa = std::get_if<compute::AttentionGqa>(&attention);
    args.cache =
        cache_of(gqa != nullptr ? gqa->layer : std::get<compute::AttentionMla>(attention).layer);
    hooks_.push("prepare_heads", [args, step = step_](const StepShape& shape, Queue queue) {
        return prepare_heads(args, step, shape.tokens, queue);
    });
    is_prepared_ = true;
}

void AttentionCompiler::store_rows(const FloatRows& key,
                                   const FloatRows& value,
                                   std::int32_t layer) {
    if (std::exchange(is_prepared_, false)) return;
    const StoreCacheArgs args{.key = key, .value = value, .cache = cache_of(layer)};
    hooks_.push("store_cache", [args, step = step_](const StepShape& shape, Queue queue) {
        return store_cache(args, step, shape.tokens, queue);
    });
}

Result<void> AttentionCompiler::add(const compute::AttentionGqa& op) {
    HEARTH_CHECK(check_dims(op.head_dim, op.value_dim));
    store_rows(values_.floats(op.k), values_.floats(op.v), op.layer);
    auto args = std::make_shared<AttentionArgs>();
    args->query = values_.floats(op.q);
    args->query_head_stride = args->query_dim = static_cast<int>(op.head_dim);
    args->cache = cache_of(op.layer);
    args->heads = static_cast<int>(op.heads);
    args->kv_heads = static_cast<int>(op.kv_heads);
    args->value_dim = static_cast<int>(op.value_dim);
    args->scale = op.scale;
    args->out = values_.floats(op.out);
    args->partial_values = partial_values_;
    args->partial_sums = partial_sums_;
    hooks_.push("attend", [args, step = step_](const StepShape& shape, Queue queue) {
        return attend(*args, step, shape.tokens, shape.splits, queue);
    });
    values_.wrote(op.out, op.value_dim % kChunkWeights == 0 ? &args->rounded : nullptr);
    return {};
}

/// The queries of the latents: a head's part without rotation times its rows of k_up.
FloatRows AttentionCompiler::push_absorb(const compute::AttentionMla& op) {
    const std::int64_t columns = op.heads * op.latent_dim;
    const FloatRows queries{workspace_.take<float>(plan_.tokens_max * columns), columns};
    ProjectArgs absorb;
    absorb.parts[0] = {.weight = weights_.matrix(op.k_up),
                       .rows = static_cast<std::int32_t>(columns),
                       .out = queries};
    absorb.part_count = 1;
    absorb.x_float = values_.floats(op.q);
    absorb.head_rows = absorb.head_out = static_cast<std::int32_t>(op.latent_dim);
    absorb.head_x = static_cast<std::int32_t>(op.nope_dim + op.rope_dim);
    hooks_.push("absorb", [absorb](const StepShape& shape, Queue queue) {
        return project_float(absorb, shape.tokens, queue);
    });
    return queries;
}

Result<void> AttentionCompiler::add(const compute::AttentionMla& op) {
    HEARTH_CHECK(check_dims(op.latent_dim + op.rope_dim, op.latent_dim));
    store_rows(values_.floats(op.latent), {}, op.layer);
    const FloatRows queries = push_absorb(op);
    const FloatRows mixed{workspace_.take<float>(plan_.tokens_max * queries.stride),
                          queries.stride};
    const FloatRows q = values_.floats(op.q);
    const auto query_dim = static_cast<std::int32_t>(op.nope_dim + op.rope_dim);
    const auto latent_dim = static_cast<std::int32_t>(op.latent_dim);
    auto args = std::make_shared<AttentionArgs>();
    args->query = queries;
    args->query_head_stride = args->query_dim = latent_dim;
    args->rest = {q.data == nullptr ? nullptr : q.data + op.nope_dim, q.stride};
    args->rest_head_stride = query_dim;
    args->rest_dim = static_cast<int>(op.rope_dim);
    args->cache = cache_of(op.layer);
    args->heads = static_cast<int>(op.heads);
    args->kv_heads = 1;
    args->value_dim = latent_dim;
    args->values_are_keys = true;
    args->scale = op.scale;
    args->out = mixed;
    args->partial_values = partial_values_;
    args->partial_sums = partial_sums_;
    auto values = std::make_shared<LatentValues>();
    values->v_up = weights_.matrix(op.v_up);
    values->value_dim = static_cast<int>(op.value_dim);
    values->out = values_.floats(op.out);
    hooks_.push("attend_latent", [args, values, step = step_](const StepShape& shape, Queue queue) {
        return attend_latent(*args, *values, step, shape.tokens, shape.splits, queue);
    });
    values_.wrote(op.out, op.value_dim % kChunkWeights == 0 ? &values->rounded : nullptr);
    return {};
}

SplitWidth split_width(const compute::Plan& plan) {
    SplitWidth width;
    const auto widen = [&](std::int64_t heads, std::int64_t value_dim) {
        width.values = std::max(width.values, heads * value_dim);
        width.heads = std::max(width.heads, heads);
    };
    for (const compute::Operation& operation : plan.operations) {
        if (const auto* gqa = std::get_if<compute::AttentionGqa>(&operation)) {
            widen(gqa->heads, gqa->value_dim);
        } else if (const auto* mla = std::get_if<compute::AttentionMla>(&operation)) {
            widen(mla->heads, mla->latent_dim);
        }
    }
    return width;
}

}  // namespace hearth::cuda
