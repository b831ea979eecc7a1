// The door of core/engine: generations in, events out. The engine knows tokens, counts and blocks;
// it knows no text. Public headers: engine.h, request.h.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/base/clock.h"
#include "core/base/result.h"
#include "core/compute/compute.h"
#include "core/engine/request.h"
#include "core/model/model.h"

namespace hearth::engine {

/// Every bound of the engine. Fixed after construction; the context is cut to what the model was
/// made for and to the room of the cache.
struct EngineLimits {
    std::int32_t context_tokens_max = 8192;  ///< prompt and answer of one sequence
    std::int32_t cache_tokens =
        32768;  ///< room of the key/value cache, all sequences and kept prefixes together
    std::int32_t sequences_max = 16;  ///< advancing at once
    std::int32_t queue_max = 64;  ///< waiting; a full queue refuses new requests with `unavailable`
    /// 0: what suits the backend (model::prompt_tokens_per_step). On the host a long step ends
    /// early when its asker has gone or is out of time, or somebody better has come; no prompt
    /// loses two in a row. Steps that run to their end are short for prompts that are no
    /// keystrokes: beside a keystroke, and on a device while somebody is typing.
    std::int32_t prefill_tokens_per_step = 0;
    /// Guessed tokens that one step tries, of all sequences together; 0: none. At most half of
    /// prefill_tokens_per_step.
    std::int32_t draft_tokens_per_step = 32;
    /// Whether the model's own block for multi-token prediction guesses too, where it has one.
    bool has_prediction = true;
    /// How keys and values are kept: f16, q8_0 in about half the memory, or f32 for comparisons.
    /// Not every backend has all (Backend::has_cache_type).
    compute::Dtype cache_type = compute::Dtype::f16;
};

struct EngineStatus {
    std::int32_t waiting = 0;
    std::int32_t running = 0;
    std::uint64_t requests_finished = 0;
    std::uint64_t steps = 0;
    std::uint64_t steps_abandoned = 0;  ///< of them: long ones that nobody waited for any more
    std::uint64_t tokens_prefilled = 0;
    std::uint64_t tokens_generated = 0;
    std::uint64_t tokens_cached = 0;           ///< prompt tokens that were found in the cache
    std::uint64_t tokens_drafted = 0;          ///< guessed and tried, however it was guessed ...
    std::uint64_t tokens_guessed_right = 0;    ///< ... and what the model said itself
    std::uint64_t tokens_predicted = 0;        ///< of them: guessed by the model's own block ...
    std::uint64_t tokens_predicted_right = 0;  ///< ... and what the model said itself
    bool has_predictor = false;                ///< the model's own block is at hand
    std::int32_t cache_blocks = 0;
    std::int32_t cache_blocks_free =
        0;  ///< held by no running sequence (kept prefixes count as free)
    compute::ExpertUses expert_uses;
};

/// The loop, and the only door. Destruction cancels everything, answers every request and joins the
/// thread.
///
/// Thread: any; events come on [engine], so sinks are quick.
class Engine {
  public:
    /// Compiles the model's plan for the backend and starts the engine thread. `model`, `backend`
    /// and `clock` outlive it (the model is shared).
    ///
    /// The experts in `host_experts` are not uploaded (see model::Placement).
    ///
    /// Errors: invalid_argument (a limit below its least, a plan that does not fit its weights or
    /// its type of cache); those of Backend::upload, compile and make_kv_store.
    static Result<std::unique_ptr<Engine>> make(
        std::shared_ptr<const model::Model> model,
        compute::Backend& backend,
        const EngineLimits& limits,
        const Clock& clock,
        std::span<const compute::HostExperts> host_experts = {});

    virtual ~Engine() = default;
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    /// Queues a request. From here on its sink gets exactly one `finished` or `failed`, after any
    /// number of tokens.
    ///
    /// Errors: unavailable (queue full, or shutting down), invalid_argument (no sink, empty
    /// prompt, token outside the vocabulary, a setting out of its range), too_large (longer than
    /// the context; what fits is said). The sink is then never called.
    virtual Result<Ticket> submit(Request request) = 0;

    /// Ends a request within one step; unknown and finished tickets are ignored.
    virtual void cancel(Ticket ticket) = 0;

    [[nodiscard]] virtual EngineStatus status() const = 0;
    /// The limits in force.
    [[nodiscard]] virtual const EngineLimits& limits() const = 0;

  protected:
    Engine() = default;
};

}  // namespace hearth::engine
