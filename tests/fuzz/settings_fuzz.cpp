// Any bytes as the user's settings file: accepted, or refused with a sentence that names the file.
#include "core/cli/settings.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const hearth::fuzz::MemoryFile file(hearth::fuzz::to_text(data, size));
    const auto settings = hearth::cli::load_settings(file.path());
    if (settings) {
        HEARTH_ASSERT(settings->threads >= 0 && settings->context_tokens >= 0);
    } else {
        HEARTH_ASSERT(settings.error().text.find(file.path()) != std::string::npos);
    }
    return 0;
}

std::vector<std::string> hearth::fuzz::seeds() {
    return {
        R"({"model": "m.gguf", "backend": "cpu", "threads": 2, "context_tokens": 512, "kv_cache": "q8_0", "prediction_block": "b.gguf",)"
        R"( "plugin_folders": ["/p"], "plugins": {"hearth.complete": {"a": "b"}}})",
        "// a comment\n{}",
        R"({"threads": 18446744073709551615})",
        std::string(3000, '['),
    };
}
