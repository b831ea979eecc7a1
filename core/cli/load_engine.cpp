#include "core/cli/load_engine.h"

#include <algorithm>
#include <iomanip>
#include <new>
#include <sstream>
#include <system_error>
#include <utility>

namespace hearth::cli {
namespace {

using model::Placement;
using model::PlacementRequest;

std::string gibibytes(std::int64_t bytes) {
    std::ostringstream text;
    text << std::fixed << std::setprecision(2) << static_cast<double>(bytes) / 0x1p30 << " GiB";
    return text.str();
}

bool is_host(const compute::Backend& backend) {
    const auto memory = backend.memory();
    return !memory || memory->is_host;
}

std::string where(const compute::Backend& backend) {
    return std::string(backend.name()) + " (" + backend.description() + ")";
}

/// The request that stands for the engine's limits.
PlacementRequest to_request(const model::Model& model,
                            const compute::Backend& backend,
                            const LoadSettings& settings) {
    const engine::EngineLimits& limits = settings.limits;
    const bool is_chosen = !settings.is_context_asked && !is_host(backend);
    const std::int32_t context_max = model.config().context_length;
    const std::int32_t context = context_max > 0 ? std::min(limits.context_tokens_max, context_max)
                                                 : limits.context_tokens_max;
    const std::int32_t prompt_tokens =
        limits.prefill_tokens_per_step > 0
            ? limits.prefill_tokens_per_step
            : model::prompt_tokens_per_step(backend.name(), model.config());
    const bool is_drafting =
        limits.has_prediction && limits.draft_tokens_per_step > 0 && backend.passes_rows();
    return {.context_tokens = is_chosen && context_max > 0 ? 0 : context,
            .cache_tokens = limits.cache_tokens,
            .step_tokens = prompt_tokens + limits.sequences_max,
            .draft_tokens = is_drafting ? limits.sequences_max : 0,
            .costs = {.cache_type = limits.cache_type}};
}

std::string to_text(const Placement& placement,
                    const compute::Backend& backend,
                    compute::Dtype cache_type) {
    const std::int64_t taken = placement.device_bytes() - placement.reserve_bytes;
    std::string text = gibibytes(taken) + " for a context of " +
                       std::to_string(placement.context_tokens) + " tokens";
    if (cache_type != compute::Dtype::f16) {
        text += ", cache in " + std::string(compute::traits(cache_type).name);
    }
    if (is_host(backend)) return text + ", in the machine's memory";
    if (placement.host_bytes == 0) return text + ", all on the device";
    const auto [fewest, most] =
        std::ranges::minmax_element(placement.host_experts, {}, &compute::HostExperts::slot_count);
    std::string slots = std::to_string(fewest->slot_count);
    if (most->slot_count != fewest->slot_count) slots += " to " + std::to_string(most->slot_count);
    return text + "; experts in the machine's memory (" + gibibytes(placement.host_bytes) + "), " +
           slots + " of a layer on the device at a time";
}

/// Loads on one backend. `may_be_short`: the host's memory may be too small.
Result<LoadedEngine> load_on(const std::shared_ptr<const model::Model>& model,
                             std::unique_ptr<compute::Backend> backend,
                             LoadSettings settings,
                             bool may_be_short,
                             const Clock& clock) {
    LoadedEngine loaded;
    engine::EngineLimits& limits = settings.limits;
    std::vector<compute::HostExperts> host_experts;
    if (!backend->has_cache_type(limits.cache_type)) {
        loaded.warnings.push_back("the " + std::string(backend->name()) +
                                  " backend keeps keys and values in F16, not in " +
                                  std::string(compute::traits(limits.cache_type).name));
        limits.cache_type = compute::Dtype::f16;
    }
    const auto placement = fit(*model, *backend, to_request(*model, *backend, settings));
    if (placement) {
        loaded.placement = to_text(*placement, *backend, limits.cache_type);
        limits.context_tokens_max = placement->context_tokens;
        limits.cache_tokens = placement->cache_tokens;
        host_experts = placement->host_experts;
    } else if (is_host(*backend) && may_be_short) {
        loaded.placement = "more than the machine's memory";
        loaded.warnings.push_back(placement.error().text + "; until then it will be slow");
    } else {
        return fail(placement.error());
    }
    HEARTH_TRY(loaded.engine, engine::Engine::make(model, *backend, limits, clock, host_experts));
    const bool is_predicting = limits.has_prediction && model->prediction(1, 1).has_value();
    if (is_predicting && !loaded.engine->status().has_predictor) {
        loaded.warnings.push_back("the " + std::string(backend->name()) +
                                  " backend does not draft by a block for multi-token prediction");
    }
    loaded.backend = std::move(backend);
    return loaded;
}

/// Loads on the backend of this name. What is thrown on the way is an error as any other: memory
/// that ends must not end the daemon.
Result<LoadedEngine> load_named(const std::string& name,
                                const std::shared_ptr<const model::Model>& model,
                                const compute::BackendRegistry& registry,
                                const LoadSettings& settings,
                                bool may_be_short,
                                const Clock& clock) {
    std::string reason;
    try {
        HEARTH_TRY(auto backend, registry.make(name, {.thread_count = settings.threads}));
        return load_on(model, std::move(backend), settings, may_be_short, clock);
    } catch (const std::bad_alloc&) {
        reason = "the machine's memory ended";
    } catch (const std::system_error& error) {
        reason = error.what();
    }
    return fail(ErrorCode::out_of_memory,
                model->config().name + " could not be loaded on " + name + ": " + reason +
                    "; close other programs, or take a smaller model or \"context_tokens\"",
                "load");
}

}  // namespace

Result<Placement> fit(const model::Model& model,
                      const compute::Backend& backend,
                      PlacementRequest request) {
    const auto memory = backend.memory();
    request.costs = model::device_costs(backend.name(), request.costs.cache_type);
    if (request.free_bytes == 0) {
        request.free_bytes = memory ? memory->free_bytes : std::int64_t{1} << 60;
    }
    Placement placement = model::place(model, request);
    if (placement.missing_bytes == 0) return placement;
    return fail(ErrorCode::out_of_memory,
                model.config().name + " does not fit " + where(backend) + ": it takes " +
                    gibibytes(placement.device_bytes()) + " with a context of " +
                    std::to_string(placement.context_tokens) + " tokens, and " +
                    std::to_string(placement.missing_bytes) + " bytes (" +
                    gibibytes(placement.missing_bytes) +
                    ") are missing; set a shorter \"context_tokens\", take a smaller quantisation "
                    "of the model" +
                    (is_host(backend) ? "" : ", use the cpu backend,") + " or close other programs",
                "load");
}

std::string prediction_warning(const model::Model& model, const std::string& prediction_path) {
    if (model.prediction(1, 1)) return {};
    std::string fault = model.prediction_fault();
    if (fault.empty() && !prediction_path.empty()) {
        fault = model.config().architecture + " knows no such block, but " + prediction_path +
                " was named or lies beside it";
    }
    return fault.empty() ? fault : "no drafts by a block for multi-token prediction: " + fault;
}

Result<LoadedEngine> load_engine(const std::shared_ptr<const model::Model>& model,
                                 const compute::BackendRegistry& registry,
                                 const LoadSettings& settings,
                                 const Clock& clock) {
    std::vector<std::string> warnings;
    std::vector<std::string> names = registry.candidates();
    if (!settings.backend.empty()) names = {settings.backend};
    Error last{ErrorCode::unavailable, "there is no backend", "load"};
    for (const std::string& name : names) {
        auto loaded = load_named(name, model, registry, settings, &name == &names.back(), clock);
        if (loaded) {
            loaded->warnings.insert(loaded->warnings.begin(), warnings.begin(), warnings.end());
            return loaded;
        }
        last = loaded.error();
        warnings.push_back(last.text);
    }
    for (std::size_t i = 0; i + 1 < warnings.size(); ++i) {
        last.text += "; before that: " + warnings[i];
    }
    return fail(std::move(last));
}

}  // namespace hearth::cli
