// ModelContext: a query whose plugin may ask the model. It turns infill and generate into prompts,
// requests and gated pieces, and waits for them on the plugin's own thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/assist/answer_stream.h"
#include "core/assist/context_gatherer.h"
#include "core/assist/engine_door.h"
#include "core/assist/fix_search.h"
#include "core/assist/infill_prompt.h"
#include "core/assist/line_search.h"
#include "core/assist/prompt_format.h"
#include "core/assist/query_context.h"
#include "core/assist/suggestion_choice.h"
#include "core/assist/verdict_memory.h"

namespace hearth::assist {

/// What all queries share, and what lives on with the last of them.   Thread: any.
struct ModelAccess {
    ModelAccess(engine::Engine& engine,
                const Clock& clock,
                std::shared_ptr<const tokenizer::Tokenizer> shared_tokenizer,
                const AssistLimits& assist_limits)
        : door(engine, clock),
          tokenizer(std::move(shared_tokenizer)),
          format(*tokenizer),
          limits(assist_limits) {}

    EngineDoor door;
    const std::shared_ptr<const tokenizer::Tokenizer> tokenizer;
    const PromptFormat format;
    const AssistLimits limits;
    VerdictMemory verdicts;
};

struct ModelContextOptions {
    std::uint64_t cursor_byte = 0;
    TimePoint started;
    TimePoint deadline;
    double probability_min = 0.0;  ///< of a suggestion that is shown; 0: everything is
};

class ModelContext final : public QueryContext {
  public:
    ModelContext(QueryContextOptions query,
                 const ModelContextOptions& options,
                 std::shared_ptr<ModelAccess> access,
                 std::shared_ptr<ContextGatherer> gatherer);

    /// Candidates come best first, equal ones once. A certain copy is the answer before the model
    /// is asked.
    plugin_host::CallStatus infill(const plugin_host::DocumentView& document,
                                   const plugin_host::InfillOptions& options,
                                   plugin_host::PieceSink& sink) override;
    plugin_host::CallStatus generate(plugin_host::GenerateTask task,
                                     std::span<const plugin_host::Part> parts,
                                     plugin_host::PieceSink& sink) override;

    /// All requests of this query together.
    [[nodiscard]] engine::Usage usage() const;
    /// Why the model gave nothing, if it was asked in vain: the first reason counts.
    [[nodiscard]] std::optional<Error> error() const;

  private:
    struct Generation {
        std::shared_ptr<AnswerStream> stream;
        const CompletionGate* gate = nullptr;  ///< of a completion; the stream's
        engine::Ticket ticket = {};            ///< none where the answer was known
        TimePoint submitted;
        TimePoint deadline;
        std::int32_t prompt_tokens = 0;
        bool goes_on = false;  ///< with the prompt of another one
    };
    /// What all requests for one completion have in common.
    struct Infill {
        Tokens prompt;
        std::int32_t stable_tokens = 0;
        Tokens short_prompt;
        std::string next;  ///< what lines are judged by; empty: they are not
        CompletionGateOptions gate;
        engine::SamplingSettings sampling;
        std::int32_t tokens_max = 0;
    };

    void on_end() override;
    plugin_host::CallStatus refuse(plugin_host::CallStatus status, Error error);
    [[nodiscard]] std::string repository() const;
    [[nodiscard]] std::int32_t answer_tokens(std::int32_t limit) const;
    [[nodiscard]] std::vector<CopyOffer> find_copies_for(
        const plugin_host::DocumentView& document) const;
    Result<InfillPrompt> make_prompt(const plugin_host::DocumentView& document,
                                     std::int32_t tokens_max);
    /// For a cold cache; empty where there are to be none, where `whole` is no longer, or where
    /// there is no room for one.
    Tokens make_short_prompt(const plugin_host::DocumentView& document, const InfillPrompt& whole);
    Result<Generation> start(engine::Request request,
                             std::unique_ptr<TextGate> gate,
                             TimePoint deadline,
                             std::span<const engine::TokenEvent> known = {});
    /// A completion that begins with `known`.
    Result<Generation> begin(const Infill& infill,
                             const CompletionGateOptions& gate,
                             TimePoint deadline,
                             std::span<const engine::TokenEvent> known = {});
    std::optional<plugin_host::CallStatus> refuse_place(const plugin_host::DocumentView& document);
    plugin_host::CallStatus infill_likeliest(Infill infill, plugin_host::PieceSink& sink);
    /// Several answers, each with a seed of its own.
    plugin_host::CallStatus infill_by_chance(Infill infill,
                                             std::uint32_t candidates_max,
                                             plugin_host::PieceSink& sink);
    /// The likeliest line there is (line_search.h), where the model's first was left open.
    plugin_host::CallStatus search(Infill infill,
                                   const Generation& first,
                                   plugin_host::PieceSink& sink);
    std::vector<SaidLine> go_on(const Infill& infill,
                                std::vector<SaidLine> beginnings,
                                TimePoint until);
    /// What follows the cursor, with \n; empty where lines are not judged by it.
    [[nodiscard]] std::string next_lines_of(const plugin_host::DocumentView& document) const;
    LineVerdicts judge(const Infill& infill, std::span<const AskedLine> lines);
    struct Heard {
        AnswerStream::Outcome outcome;
        bool is_read = true;  ///< the sink has taken all of it
    };
    /// Hands pieces on until the answer ends, the deadline passes or the sink has enough.
    Heard hear(const Generation& generation, std::uint32_t item, plugin_host::PieceSink& sink);
    /// The same, and what became of it is this query's answer.
    plugin_host::CallStatus pump(const Generation& generation,
                                 std::uint32_t item,
                                 plugin_host::PieceSink& sink);
    plugin_host::CallStatus pump_candidates(std::vector<Generation> generations,
                                            plugin_host::PieceSink& sink);
    void note_usage(const Generation& generation, const engine::Usage& usage);
    /// What takes time beside a generation: a copy, a search.
    void note_time();
    /// On the clock that the operating system waits on.
    [[nodiscard]] TimePoint wait_until(TimePoint deadline) const;
    Result<engine::Ticket> submit_own(engine::Request request);
    /// The likeliest line instead of the marked one (fix_search.h).
    plugin_host::CallStatus fix_likeliest(engine::Request request,
                                          const FixGate::Options& place,
                                          bool is_diagnosed,
                                          plugin_host::PieceSink& sink);
    std::vector<LogProbabilities> judge_prompts(std::vector<JudgedPrompt> prompts,
                                                engine::Priority priority,
                                                TimePoint until);

    // Fixed after construction.
    const ModelContextOptions options_;
    const std::shared_ptr<ModelAccess> access_;
    const std::shared_ptr<ContextGatherer> gatherer_;
    /// Of the job's thread: gathered once, when the model is first asked.
    std::optional<std::vector<ContextPiece>> context_;

    mutable Mutex mutex_;
    std::vector<engine::Ticket> tickets_ HEARTH_GUARDED_BY(mutex_);
    engine::Usage usage_ HEARTH_GUARDED_BY(mutex_);
    std::optional<Error> error_ HEARTH_GUARDED_BY(mutex_);
};

}  // namespace hearth::assist
