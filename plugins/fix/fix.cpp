// "Fix": asks the model for a better version of one line, the one that a diagnostic names or,
// without one, the first line of the selection. An answer that changes nothing is no fix.
#include <array>
#include <optional>

#include "plugins/sdk/hearth_sdk.h"
#include "plugins/sdk/lines.h"

namespace {

using hearth::sdk::Action;
using hearth::sdk::CollectingJob;
using hearth::sdk::Document;
using hearth::sdk::is_blank;
using hearth::sdk::Job;
using hearth::sdk::Lines;
using hearth::sdk::Part;
using hearth::sdk::Range;
using hearth::sdk::Selection;
using hearth::sdk::Status;

constexpr std::size_t kContextLines = 10;
constexpr std::size_t kTitleMessageBytes = 60;
constexpr std::size_t kAnswerBytesMax = 16 << 10;
/// An action's id is the index of its diagnostic, or this.
constexpr std::uint32_t kWithoutDiagnostic = UINT32_MAX;

/// The line that an action mends; empty if there is none with text.
std::optional<std::size_t> line_to_fix(const Lines& lines,
                                       std::uint64_t text_bytes,
                                       const Selection& selection,
                                       std::uint32_t id) {
    if (id != kWithoutDiagnostic) {
        if (id >= selection.diagnostic_count()) return std::nullopt;
        const Range range = selection.diagnostic(id).range;
        if (range.begin_byte > text_bytes) return std::nullopt;
        const std::size_t line = lines.line_at(range.begin_byte);
        return is_blank(lines[line]) ? std::nullopt : std::optional(line);
    }
    const Range selected = selection.range();
    if (selected.begin_byte > selected.end_byte || selected.end_byte > text_bytes) {
        return std::nullopt;
    }
    const std::size_t last = lines.line_at(selected.end_byte);
    for (std::size_t line = lines.line_at(selected.begin_byte); line <= last; ++line) {
        if (!is_blank(lines[line])) return line;
    }
    return std::nullopt;
}

/// The message as a title: one line, cut between characters.
std::string title_of(std::string_view message) {
    const std::string_view line = message.substr(0, message.find_first_of("\r\n"));
    if (line.size() <= kTitleMessageBytes) return "Fix: " + std::string(line);
    std::size_t end = kTitleMessageBytes;
    while (end > 0 && (line[end] & '\xC0') == '\x80') {
        --end;
    }
    return "Fix: " + std::string(line.substr(0, end)) + "...";
}

std::string_view without_trailing_space(std::string_view text) {
    return text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
}

class Fix final : public hearth::sdk::Plugin, public hearth::sdk::CodeAction {
  public:
    using Plugin::Plugin;

    bool init() override {
        if (host().generate()) return true;
        host().log(HEARTH_LOG_ERROR, "this host cannot mend code");
        return false;
    }

    std::vector<Action> list(const Document& document,
                             const Selection& selection,
                             std::size_t room) override {
        const Lines lines(document.text());
        std::vector<Action> actions;
        const auto add = [&](std::uint32_t id, std::string title) {
            const auto line = line_to_fix(lines, document.text().size(), selection, id);
            if (!line || actions.size() == room) return;
            actions.push_back({.title = std::move(title),
                               .id = id,
                               .kind = HEARTH_ACTION_FIXES,
                               .range = lines.range(*line)});
        };
        for (std::uint32_t i = 0; i < selection.diagnostic_count(); ++i) {
            add(i, title_of(selection.diagnostic(i).message));
        }
        if (actions.empty()) add(kWithoutDiagnostic, "Fix this line");
        return actions;
    }

    Status run(const Document& document,
               const Selection& selection,
               std::uint32_t id,
               const Job& job) override {
        const auto generate = host().generate();
        const Lines lines(document.text());
        const auto line = line_to_fix(lines, document.text().size(), selection, id);
        if (!generate || !line) return Status::unsupported;
        const std::string_view message =
            id == kWithoutDiagnostic ? std::string_view() : selection.diagnostic(id).message;
        const std::size_t first = *line - std::min(*line, kContextLines);
        // The line end after the marked line belongs to it: the code after begins with a whole
        // line.
        const std::array parts = {Part{HEARTH_PART_CODE, document.uri(), lines.slice(first, *line)},
                                  Part{HEARTH_PART_MARKED_LINE, document.uri(), lines[*line]},
                                  Part{HEARTH_PART_CODE,
                                       document.uri(),
                                       lines.slice(*line + 1, *line + 1 + kContextLines)},
                                  Part{HEARTH_PART_DIAGNOSTIC, {}, message}};
        CollectingJob collecting(job, kAnswerBytesMax);
        const std::size_t part_count = message.empty() ? parts.size() - 1 : parts.size();
        const Status status =
            (*generate)(HEARTH_TASK_FIX, std::span(parts).first(part_count), collecting.job());
        if (!collecting.is_whole()) return Status::ok;  // no line is that long
        if (status != Status::ok) return status;
        const std::string_view answer = without_trailing_space(collecting.text());
        if (answer.empty() || answer == without_trailing_space(lines[*line])) return Status::ok;
        return job.emit(answer) ? Status::ok : Status::cancelled;
    }
};

}  // namespace

HEARTH_PLUGIN(Fix, "hearth.fix", "Fix", "0.1.0");
