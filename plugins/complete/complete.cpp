// Inline completion: decides what to ask the model for at a cursor (nothing, the rest of a line, a
// block) and lets the host fill it in. Where the answer ends is the host's gates' business.
#include <charconv>

#include "plugins/sdk/hearth_sdk.h"
#include "plugins/sdk/lines.h"

namespace {

using namespace std::string_view_literals;
using hearth::sdk::Document;
using hearth::sdk::is_blank;
using hearth::sdk::Job;
using hearth::sdk::Status;

constexpr std::uint32_t kBlockLinesMax = 8;

/// What is worth suggesting at a cursor.
enum class Shape { nothing, line, block };

Shape shape_at(std::string_view before, std::string_view after) {
    // An empty file says nothing about what its author wants.
    if (is_blank(before)) return Shape::nothing;
    const std::string_view left = before.substr(before.rfind('\n') + 1);
    const std::string_view right = after.substr(0, after.find('\n'));
    if (is_blank(right)) {
        const std::size_t last = left.find_last_not_of(" \t");
        if (last == std::string_view::npos) return Shape::block;
        return left[last] == '{' || left[last] == ':' ? Shape::block : Shape::line;
    }
    // In front of what closes, or of a gap, there is room for text; inside of a word or in front of
    // an operator whatever we add would break what stands there.
    return " \t\r)]}>\"'`;,:"sv.find(right.front()) == std::string_view::npos ? Shape::nothing
                                                                              : Shape::line;
}

class Complete final : public hearth::sdk::Plugin, public hearth::sdk::InlineCompletion {
  public:
    using Plugin::Plugin;

    bool init() override {
        if (!host().infill()) {
            host().log(HEARTH_LOG_ERROR, "this host cannot fill in at a cursor");
            return false;
        }
        read_setting("block_lines_max", block_lines_max_);
        read_setting("tokens_max", tokens_max_);
        return true;
    }

    Status complete(const Document& document, const Job& job) override {
        const auto infill = host().infill();
        if (!infill) return Status::unsupported;
        const Shape shape = shape_at(document.before_cursor(), document.after_cursor());
        if (shape == Shape::nothing) return Status::ok;
        const hearth_infill_options options = {
            .tokens_max = tokens_max_,
            .lines_max = shape == Shape::block ? block_lines_max_ : 1,
            .candidates_max = 1,
            .temperature = 0.0F};
        return (*infill)(document, options, job);
    }

  private:
    /// What is no number leaves `value` as it is.
    void read_setting(const char* name, std::uint32_t& value) {
        const std::string_view text = host().setting(name).value_or("");
        std::from_chars(text.data(), text.data() + text.size(), value);
    }

    // Fixed after init.
    std::uint32_t block_lines_max_ = kBlockLinesMax;
    std::uint32_t tokens_max_ = 0;  // the host's own limit
};

}  // namespace

HEARTH_PLUGIN(Complete, "hearth.complete", "Inline completion", "0.1.0");
