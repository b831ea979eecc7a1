// The door of core/assist: what an editor may ask of us. It picks the plugin, gathers context,
// renders the prompt in the model's own format, submits to the engine and gates what comes back.
// Text is UTF-8, places are byte offsets. Public headers: assist.h, document.h.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/assist/document.h"
#include "core/base/cancel_token.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/result.h"
#include "core/engine/engine.h"
#include "core/plugin_host/plugin_host.h"
#include "core/tokenizer/tokenizer.h"

namespace hearth::assist {

enum class Trigger { automatic, invoked };

/// Everything that is needed to complete at one place. A value; carries all it needs.
struct CompletionQuery {
    DocumentRef document;
    std::uint64_t cursor_byte = 0;
    std::vector<DocumentRef> open_documents;  ///< the others, most recently used first
    Trigger trigger = Trigger::automatic;
    /// With the editor's own popup open: the text it would insert from `selected_begin_byte` to the
    /// cursor. Suggestions extend it.
    std::optional<std::string> selected_text;
    std::uint64_t selected_begin_byte = 0;
    std::optional<TimePoint> deadline;
    CancelToken cancel;
};

struct Suggestion {
    std::string text;  ///< inserted at the cursor (with selected_text: replaces selected_begin_byte
                       ///< to the cursor)
};

struct CompletionAnswer {
    std::vector<Suggestion>
        suggestions;      ///< best first; empty is the ordinary answer "nothing sensible"
    engine::Usage usage;  ///< all requests of this query together
};

struct Diagnostic {
    plugin_host::ByteRange range;
    std::uint32_t severity = 1;
    std::string source;
    std::string message;
};

struct ActionQuery {
    DocumentRef document;
    plugin_host::ByteRange selection;
    std::vector<Diagnostic> diagnostics;
    std::vector<DocumentRef> open_documents;
    CancelToken cancel;
    std::optional<TimePoint> deadline;
};

struct ActionAnswer {
    std::string text;              ///< explanation (Markdown), or replacement of the action's range
    bool is_found = false;         ///< false for a fix: nothing to change
    plugin_host::ByteRange range;  ///< what a fix replaces
    engine::Usage usage;
};

/// Called once, on a [job] thread (or at once by the caller's thread when a pool is full).
template <typename T>
using Done = std::function<void(Result<T>)>;
/// Called for each piece of an explanation as it comes, on a [job] thread.
using OnPiece = std::function<void(std::string_view piece)>;

/// Every bound of the room.
struct AssistLimits {
    std::int32_t prompt_tokens_max =
        2048;  ///< a completion's prompt; the model's context may lower it
    /// The prompt of the first completions in a file, where the longer one would take more than
    /// `cold_prompt_budget` to compute. A budget of 0: there are no short prompts.
    std::int32_t short_prompt_tokens_max = 320;
    Duration cold_prompt_budget = std::chrono::milliseconds(200);
    std::int32_t completion_tokens_max = 64;
    std::int32_t explain_tokens_max = 256;
    std::int32_t fix_tokens_max = 128;
    std::uint64_t context_bytes_max = 16384;      ///< from all context providers together
    std::uint64_t document_bytes_max = 8u << 20;  ///< larger documents get no completion
    /// A line is suggested when it is the right one at least so probably: while one types, and when
    /// one asks for it. 0: always, and without any check.
    double automatic_probability_min = 0.25;
    double invoked_probability_min = 0.1;
    /// For other beginnings of a line than the model's first. 0: none are looked at.
    Duration line_search_budget = std::chrono::milliseconds(250);
    /// For judging the lines that were found by what follows them. 0: they are not judged.
    Duration line_judge_budget = std::chrono::milliseconds(150);
    bool has_copies = true;  ///< lines that stand elsewhere in the open documents are suggested
    /// An explanation is shown while its tokens have at least this geometric mean probability, a
    /// fix when it is the right one at least so probably, the line as it is being one of them
    /// unless a diagnostic names it. 0: always, and without any check.
    double explain_confidence_min = 0.3;
    double fix_probability_min = 0.85;
    double diagnosed_fix_probability_min = 0.4;
    Duration completion_budget = std::chrono::seconds(5);
    Duration context_budget =
        std::chrono::milliseconds(20);  ///< what providers have given by then is used
    Duration action_budget = std::chrono::seconds(60);
    /// What a plugin may take beyond these before its thread is left behind: we keep them
    /// ourselves, so one that needs more hangs.
    Duration plugin_grace = std::chrono::seconds(2);
};

struct AssistantParts {
    engine::Engine& engine;
    std::shared_ptr<const tokenizer::Tokenizer> tokenizer;
    plugin_host::PluginHost& plugins;
    Log& log;
    const Clock& clock;
};

/// Thread: any; the parts outlive it. The destructor cancels what runs and waits for it.
class Assistant {
  public:
    static std::unique_ptr<Assistant> make(const AssistantParts& parts, const AssistLimits& limits);

    virtual ~Assistant() = default;
    Assistant(const Assistant&) = delete;
    Assistant& operator=(const Assistant&) = delete;

    /// Errors: unavailable (pool or engine queue full), unsupported (the model has no
    /// fill-in-the-middle format), timed_out, cancelled, and those of the plugin that failed.
    virtual void complete(CompletionQuery query, Done<CompletionAnswer> done) = 0;
    /// Quick; never asks the model.
    virtual void list_actions(ActionQuery query, Done<std::vector<plugin_host::Action>> done) = 0;
    virtual void run_action(ActionQuery query,
                            plugin_host::Action action,
                            OnPiece on_piece,
                            Done<ActionAnswer> done) = 0;

  protected:
    Assistant() = default;
};

}  // namespace hearth::assist
