#include "kernels/cuda/compile_attention.h"

#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "kernels/cuda/buckets.h"
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

/// Calls body(first row, tokens) for what lies around a step's long runs.
template <typename Body>
Result<void> for_absorbed_runs(const StepShape& shape, Body body) {
    int first = 0;
    const auto up_to = [&](int end) {
        return end > first ? body(first, end - first) : Result<void>();
    };
    for (const ExpandedRun& run : shape.expanded_runs) {
        HEARTH_CHECK(up_to(run.first));
        first = run.first + run.tokens;
    }
    return up_to(shape.tokens);
}

/// Latent attention of a step that has long runs.
Result<void> attend_mixed(const AttentionArgs& absorbed,
                          const LatentValues& values,
                          const ExpandedAttention& expanded,
                          const StepTables& step,
                          const StepShape& shape,
                          Queue queue) {
    HEARTH_CHECK(for_absorbed_runs(shape, [&](int first, int tokens) {
        AttentionArgs args = absorbed;
        args.query = rows_from(absorbed.query, first);
        args.rest = rows_from(absorbed.rest, first);
        args.out = rows_from(absorbed.out, first);
        const LatentValues now{.v_up = values.v_up,
                               .value_dim = values.value_dim,
                               .out = rows_from(values.out, first)};
        return attend_latent(args, now, tables_from(step, first), tokens, 0, queue);
    }));
    for (const ExpandedRun& run : shape.expanded_runs) {
        HEARTH_CHECK(attend_expanded(expanded, step, run, queue));
    }
    if (values.rounded.quants == nullptr) return {};
    return quantise(values.out, values.rounded, shape.tokens, queue);
}

}  // namespace

AttentionCompiler::AttentionCompiler(const compute::Plan& plan,
                                     const CudaWeights& weights,
                                     const StepTables& step,
                                     const CompileOptions& options,
                                     Workspace& workspace,
                                     Values& values,
                                     AttentionHooks hooks)
    : plan_(plan),
      weights_(weights),
      step_(step),
      workspace_(workspace),
      values_(values),
      hooks_(std::move(hooks)),
      is_exact_(options.is_exact),
      split_rows_(options.split_rows_max),
      partial_values_(workspace.take<float>(options.split_rows_max * split_width(plan).values)),
      partial_sums_(workspace.take<float2>(options.split_rows_max * split_width(plan).heads)),
      latent_(take_latent_room()) {}

/// Expanded keys are halves: not where activations stay floats.
bool AttentionCompiler::can_expand(const compute::AttentionMla& op) const {
    return !is_exact_ && plan_.tokens_max >= kExpandGroupTokens &&
           std::max(op.nope_dim + op.rope_dim, op.value_dim) <= kExpandedDimMax;
}

LatentRoom AttentionCompiler::take_latent_room() {
    std::int64_t latents = 0;
    std::int64_t expanded = 0;
    std::int64_t heads = 0;
    for (const compute::Operation& operation : plan_.operations) {
        const auto* op = std::get_if<compute::AttentionMla>(&operation);
        if (op == nullptr || op->out.id == compute::kNone) continue;
        latents = std::max(latents, op->heads * op->latent_dim);
        if (!can_expand(*op)) continue;
        expanded = std::max(
            expanded, expanded_columns(op->heads, op->nope_dim + op->rope_dim, op->value_dim));
        heads = std::max(heads, op->heads);
    }
    LatentRoom room;
    room.queries = workspace_.take<float>(plan_.tokens_max * latents);
    room.mixed = workspace_.take<float>(plan_.tokens_max * latents);
    room.positions = expanded == 0 ? 0 : stretch_positions(expanded);
    room.expanded = workspace_.take<std::uint16_t>(room.positions * expanded);
    room.states = workspace_.take<float2>(plan_.tokens_max * heads);
    return room;
}

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
    args->split_rows = split_rows_;
    hooks_.push("attend", [args, step = step_](const StepShape& shape, Queue queue) {
        return attend(*args, step, shape.tokens, shape.splits, queue);
    });
    values_.wrote(op.out, op.value_dim % kChunkWeights == 0 ? &args->rounded : nullptr);
    return {};
}

/// The queries of the latents: a head's part without rotation times its rows of k_up.
void AttentionCompiler::push_absorb(const compute::AttentionMla& op) {
    const std::int64_t columns = op.heads * op.latent_dim;
    ProjectArgs absorb;
    absorb.parts[0] = {.weight = weights_.matrix(op.k_up),
                       .rows = static_cast<std::int32_t>(columns),
                       .out = {latent_.queries, columns}};
    absorb.part_count = 1;
    absorb.x_float = values_.floats(op.q);
    absorb.head_rows = absorb.head_out = static_cast<std::int32_t>(op.latent_dim);
    absorb.head_x = static_cast<std::int32_t>(op.nope_dim + op.rope_dim);
    const bool expands = can_expand(op);
    hooks_.push("absorb", [absorb, expands](const StepShape& shape, Queue queue) {
        if (!expands) return project_float(absorb, shape.tokens, queue);
        return for_absorbed_runs(shape, [&](int first, int tokens) {
            ProjectArgs now = absorb;
            now.x_float = rows_from(absorb.x_float, first);
            now.parts[0].out = rows_from(absorb.parts[0].out, first);
            return project_float(now, tokens, queue);
        });
    });
}

AttentionArgs AttentionCompiler::absorbed_of(const compute::AttentionMla& op) const {
    const FloatRows q = values_.floats(op.q);
    const std::int64_t columns = op.heads * op.latent_dim;
    AttentionArgs args;
    args.query = {latent_.queries, columns};
    args.query_head_stride = args.query_dim = static_cast<int>(op.latent_dim);
    args.rest = {q.data == nullptr ? nullptr : q.data + op.nope_dim, q.stride};
    args.rest_head_stride = static_cast<int>(op.nope_dim + op.rope_dim);
    args.rest_dim = static_cast<int>(op.rope_dim);
    args.cache = cache_of(op.layer);
    args.heads = static_cast<int>(op.heads);
    args.kv_heads = 1;
    args.value_dim = static_cast<int>(op.latent_dim);
    args.values_are_keys = true;
    args.scale = op.scale;
    args.out = {latent_.mixed, columns};
    args.partial_values = partial_values_;
    args.partial_sums = partial_sums_;
    args.split_rows = split_rows_;
    return args;
}

ExpandedAttention AttentionCompiler::expanded_of(const compute::AttentionMla& op) const {
    ExpandedAttention args;
    args.query = values_.floats(op.q);
    args.out = values_.floats(op.out);
    args.scale = op.scale;
    args.expand = {.k_up = weights_.matrix(op.k_up),
                   .v_up = weights_.matrix(op.v_up),
                   .cache = cache_of(op.layer),
                   .heads = static_cast<int>(op.heads),
                   .nope_dim = static_cast<int>(op.nope_dim),
                   .rope_dim = static_cast<int>(op.rope_dim),
                   .latent_dim = static_cast<int>(op.latent_dim),
                   .value_dim = static_cast<int>(op.value_dim),
                   .positions_max = latent_.positions,
                   .rows = latent_.expanded,
                   .states = latent_.states};
    return args;
}

Result<void> AttentionCompiler::add(const compute::AttentionMla& op) {
    if (op.out.id == compute::kNone) {
        store_rows(values_.floats(op.latent), {}, op.layer);
        return {};
    }
    HEARTH_CHECK(check_dims(op.latent_dim + op.rope_dim, op.latent_dim));
    if (op.latent_dim % 2 != 0) {
        return refuse_attention("latents of " + std::to_string(op.latent_dim) +
                                " columns, an odd number");
    }
    store_rows(values_.floats(op.latent), {}, op.layer);
    push_absorb(op);
    auto values = std::make_shared<LatentValues>();
    values->v_up = weights_.matrix(op.v_up);
    values->value_dim = static_cast<int>(op.value_dim);
    values->out = values_.floats(op.out);
    hooks_.push("attend_latent",
                [args = absorbed_of(op),
                 expanded = expanded_of(op),
                 expands = can_expand(op),
                 values,
                 step = step_](const StepShape& shape, Queue queue) {
                    if (!expands || shape.expanded_runs.empty()) {
                        return attend_latent(
                            args, *values, step, shape.tokens, shape.splits, queue);
                    }
                    return attend_mixed(args, *values, expanded, step, shape, queue);
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
            if (mla->out.id != compute::kNone) widen(mla->heads, mla->latent_dim);
        }
    }
    return width;
}

}  // namespace hearth::cuda
