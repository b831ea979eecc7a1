// "Explain this code": hands the selection, or the block around the cursor, to the model.
#include <array>

#include "plugins/explain/block.h"
#include "plugins/sdk/hearth_sdk.h"
#include "plugins/sdk/lines.h"

namespace {

using hearth::sdk::Action;
using hearth::sdk::Document;
using hearth::sdk::is_blank;
using hearth::sdk::Job;
using hearth::sdk::Lines;
using hearth::sdk::Part;
using hearth::sdk::Range;
using hearth::sdk::Selection;
using hearth::sdk::Status;

constexpr std::size_t kBlockLinesMax = 60;

/// What would be explained; empty if there is no code.
Range range_to_explain(std::string_view text, const Selection& selection) {
    const Range selected = selection.range();
    if (selected.begin_byte > selected.end_byte || selected.end_byte > text.size()) return {};
    if (!selection.is_empty()) {
        const std::uint64_t bytes = selected.end_byte - selected.begin_byte;
        return is_blank(text.substr(selected.begin_byte, bytes)) ? Range{} : selected;
    }
    const Lines lines(text);
    const std::size_t line = lines.line_at(selected.begin_byte);
    if (is_blank(lines[line])) return {};
    const auto block = hearth::explain::enclosing_block(lines, line, kBlockLinesMax);
    return {lines.range(block.first).begin_byte, lines.range(block.last - 1).end_byte};
}

class Explain final : public hearth::sdk::Plugin, public hearth::sdk::CodeAction {
  public:
    using Plugin::Plugin;

    bool init() override {
        if (host().generate()) return true;
        host().log(HEARTH_LOG_ERROR, "this host cannot answer in words");
        return false;
    }

    std::vector<Action> list(const Document& document,
                             const Selection& selection,
                             std::size_t /*room*/) override {
        const Range range = range_to_explain(document.text(), selection);
        if (range.begin_byte == range.end_byte) return {};
        return {{.title = "Explain this code",
                 .id = 0,
                 .kind = HEARTH_ACTION_EXPLAINS,
                 .range = range}};
    }

    Status run(const Document& document,
               const Selection& selection,
               std::uint32_t /*id*/,
               const Job& job) override {
        const auto generate = host().generate();
        const Range range = range_to_explain(document.text(), selection);
        if (!generate || range.begin_byte == range.end_byte) return Status::unsupported;
        const std::string_view code =
            document.text().substr(range.begin_byte, range.end_byte - range.begin_byte);
        const std::array parts = {
            Part{.kind = HEARTH_PART_CODE, .path = document.uri(), .text = code}};
        return (*generate)(HEARTH_TASK_EXPLAIN, parts, job);
    }
};

}  // namespace

HEARTH_PLUGIN(Explain, "hearth.explain", "Explain this code", "0.1.0");
