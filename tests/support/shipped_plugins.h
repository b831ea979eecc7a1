// A host that has loaded the shipped plugins, or the template, as the daemon would.
#pragma once

#include <memory>
#include <string>

#include "core/plugin_host/plugin_host.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_context.h"
#include "tests/support/marked_text.h"

namespace hearth::test {

struct ShippedPlugins {
    explicit ShippedPlugins(const std::string& folder = "plugins",
                            const plugin_host::PluginHostOptions::Setting& setting = {})
        : host(
              plugin_host::PluginHost::load({.folders = {HEARTH_BINARY_DIR "/lib/hearth/" + folder},
                                             .budgets = {},
                                             .settings = {setting}},
                                            log,
                                            clock)) {}

    Log log{LogLevel::warning};
    FakeClock clock;
    std::unique_ptr<plugin_host::PluginHost> host;
    std::shared_ptr<FakeContext> context = std::make_shared<FakeContext>();
};

/// The document of a marked text.
inline plugin_host::DocumentView view_of(const MarkedText& source,
                                         std::string_view language = "cpp") {
    return {.uri = "file:///here.cpp",
            .language = language,
            .text = source.text,
            .cursor_byte = source.cursor_byte};
}

/// The selection of a marked text, with what is wrong in it.
inline plugin_host::SelectionView selection_of(
    const MarkedText& source, std::span<const plugin_host::DiagnosticView> diagnostics = {}) {
    return {.selection = {.begin_byte = source.cursor_byte, .end_byte = source.end_byte},
            .diagnostics = diagnostics};
}

}  // namespace hearth::test
