// A JobContext whose model says what a test tells it to, and which notes what it was asked.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/plugin_host/plugin_host.h"

namespace hearth::test {

struct AskedPart {
    plugin_host::PartKind kind;
    std::string path;
    std::string text;
};

class FakeContext final : public plugin_host::JobContext {
  public:
    // Set before the call.
    std::vector<std::string> answer = {};  ///< the model's pieces
    plugin_host::CallStatus model_status = plugin_host::CallStatus::ok;
    std::vector<plugin_host::DocumentView> open_documents = {};
    std::function<void()> on_emit = {};
    std::function<void()> on_model = {};
    std::atomic<bool> is_cancel_wanted = false;

    // Noted.
    std::map<std::uint32_t, std::string> items = {};
    std::vector<plugin_host::InfillOptions> infills = {};
    std::vector<plugin_host::GenerateTask> tasks = {};
    std::vector<AskedPart> parts = {};

    bool is_cancelled() const override { return is_cancel_wanted; }
    std::span<const plugin_host::DocumentView> documents() const override { return open_documents; }
    bool emit(std::uint32_t item, std::string_view piece) override {
        items[item] += piece;
        if (on_emit) on_emit();
        return !is_cancel_wanted;
    }
    plugin_host::CallStatus infill(const plugin_host::DocumentView&,
                                   const plugin_host::InfillOptions& options,
                                   plugin_host::PieceSink& sink) override {
        infills.push_back(options);
        return speak(sink);
    }
    plugin_host::CallStatus generate(plugin_host::GenerateTask task,
                                     std::span<const plugin_host::Part> asked,
                                     plugin_host::PieceSink& sink) override {
        tasks.push_back(task);
        for (const plugin_host::Part& part : asked) {
            parts.push_back({part.kind, std::string(part.path), std::string(part.text)});
        }
        return speak(sink);
    }

  private:
    plugin_host::CallStatus speak(plugin_host::PieceSink& sink) {
        if (on_model) on_model();
        for (const std::string& piece : answer) {
            if (!sink.emit(0, piece)) return plugin_host::CallStatus::cancelled;
        }
        return model_status;
    }
};

}  // namespace hearth::test
