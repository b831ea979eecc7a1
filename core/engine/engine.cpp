#include "core/engine/engine.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "core/engine/engine_loop.h"
#include "core/model/placement.h"

namespace hearth::engine {
namespace {

using compute::kBlockTokens;

/// The limits as this model, this cache and this backend allow them.
Result<EngineLimits> bounded_limits(EngineLimits limits,
                                    const model::ModelConfig& config,
                                    std::string_view backend) {
    if (limits.prefill_tokens_per_step == 0) {
        limits.prefill_tokens_per_step = model::prompt_tokens_per_step(backend, config);
    }
    const std::int32_t least = std::min({limits.sequences_max,
                                         limits.queue_max,
                                         limits.prefill_tokens_per_step,
                                         limits.context_tokens_max - 1,
                                         limits.cache_tokens / kBlockTokens});
    if (least < 1) {
        return fail(ErrorCode::invalid_argument,
                    "the engine needs at least one sequence, one place in its queue, one token "
                    "of prefill per step, a context of 2 tokens and a cache of " +
                        std::to_string(kBlockTokens),
                    "engine");
    }
    limits.draft_tokens_per_step =
        std::clamp(limits.draft_tokens_per_step, 0, limits.prefill_tokens_per_step / 2);
    limits.cache_tokens -= limits.cache_tokens % kBlockTokens;
    limits.context_tokens_max = std::min(limits.context_tokens_max, limits.cache_tokens);
    if (config.context_length > 1) {
        limits.context_tokens_max = std::min(limits.context_tokens_max, config.context_length);
    }
    return limits;
}

void bound(compute::Plan& plan, const EngineLimits& limits) {
    plan.kv.dtype = limits.cache_type;
    plan.positions_max = limits.context_tokens_max;
}

/// The plans of the model's block, where this backend can run them and drafts are wanted.
std::optional<model::PredictionPlans> prediction_plans(const model::Model& model,
                                                       const compute::Backend& backend,
                                                       const EngineLimits& limits,
                                                       bool has_host_experts) {
    const bool is_wanted = limits.has_prediction && limits.draft_tokens_per_step > 0;
    if (!is_wanted || !backend.passes_rows() || has_host_experts) return std::nullopt;
    auto plans = model.prediction(limits.prefill_tokens_per_step + limits.sequences_max,
                                  limits.sequences_max);
    if (!plans) return std::nullopt;
    for (compute::Plan* plan : {&plans->trunk, &plans->store, &plans->draft}) {
        bound(*plan, limits);
    }
    return plans;
}

Result<std::optional<CompiledBlock>> compile_block(
    const std::optional<model::PredictionPlans>& plans,
    const model::Model& model,
    compute::Backend& backend,
    compute::DeviceWeights& weights) {
    if (!plans) return std::optional<CompiledBlock>();
    CompiledBlock block{.row_dim = plans->trunk.rows_out.dim};
    HEARTH_CHECK(compute::validate(plans->store, model.weights()));
    HEARTH_CHECK(compute::validate(plans->draft, model.weights()));
    HEARTH_TRY(block.store, backend.compile(plans->store, weights));
    HEARTH_TRY(block.draft, backend.compile(plans->draft, weights));
    return std::optional<CompiledBlock>(std::move(block));
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::make(std::shared_ptr<const model::Model> model,
                                             compute::Backend& backend,
                                             const EngineLimits& limits,
                                             const Clock& clock,
                                             std::span<const compute::HostExperts> host_experts) {
    HEARTH_TRY(const EngineLimits bounded, bounded_limits(limits, model->config(), backend.name()));
    HEARTH_CHECK(backend.check_cache_type(bounded.cache_type));
    const auto prediction = prediction_plans(*model, backend, bounded, !host_experts.empty());
    compute::Plan plan = prediction
                             ? prediction->trunk
                             : model->plan(bounded.prefill_tokens_per_step + bounded.sequences_max);
    bound(plan, bounded);
    HEARTH_CHECK(compute::validate(plan, model->weights()));
    Compiled compiled;
    compiled.vocab_size = static_cast<std::int32_t>(plan.vocab_size);
    HEARTH_TRY(compiled.weights,
               host_experts.empty() ? backend.upload(model->weights())
                                    : backend.upload_partly(model->weights(), host_experts));
    HEARTH_TRY(compiled.program, backend.compile(plan, *compiled.weights));
    HEARTH_TRY(auto block, compile_block(prediction, *model, backend, *compiled.weights));
    HEARTH_TRY(compiled.kv, backend.make_kv_store(plan.kv, bounded.cache_tokens / kBlockTokens));
    compiled.model = std::move(model);
    auto engine =
        std::make_unique<EngineLoop>(std::move(compiled), std::move(block), bounded, clock);
    engine->start();
    return std::unique_ptr<Engine>(std::move(engine));
}

}  // namespace hearth::engine
