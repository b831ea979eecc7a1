// Keystroke latency as an editor sees it: a file is typed into, one character a request, through
// the running daemon. Usage: hearth-bench-keystroke FILE [KEYS]. Prints medians and 95th
// percentiles over the requests that asked the model.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "lsp/client/client.h"
#include "lsp/client/daemon_start.h"

namespace hearth {
namespace {

constexpr Duration kPatience = std::chrono::minutes(1);
constexpr std::size_t kKeysDefault = 200;

/// One series of times or counts.
struct Series {
    std::vector<double> values;

    [[nodiscard]] double at(double share) {
        if (values.empty()) return 0.0;
        std::sort(values.begin(), values.end());
        const auto index =
            static_cast<std::size_t>(share * static_cast<double>(values.size() - 1) + 0.5);
        return values[index];
    }
    void print(const char* name) { std::printf("| %s | %.1f | %.1f |\n", name, at(0.5), at(0.95)); }
};

Result<void> measure(const std::string& path, std::size_t keys) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return fail(ErrorCode::not_found, "cannot read " + path);
    const std::string text((std::istreambuf_iterator<char>(file)),
                           std::istreambuf_iterator<char>());
    HEARTH_TRY(const std::string folder, lsp::ensure_runtime_folder());
    HEARTH_TRY(const std::unique_ptr<lsp::Client> client, lsp::connect_daemon(folder, nullptr));

    // The file's second half is typed again from its begin, in front of what follows it.
    const std::size_t begin = text.find('\n', text.size() / 2) + 1;
    const std::size_t end = std::min(text.size(), text.find('\n', begin + keys));
    Series first_token_ms;
    Series total_ms;
    Series round_trip_ms;
    Series fresh_tokens;
    Series prompt_tokens;
    double cold_ms = 0.0;
    std::size_t asked = 0;
    for (std::size_t at = begin; at < end; ++at) {
        lsp::HearthTextParams params;
        params.path = path.substr(path.rfind('/') + 1);
        params.text = text.substr(0, at) + text.substr(end);
        params.begin_byte = params.end_byte = at;
        const TimePoint sent = std::chrono::steady_clock::now();
        HEARTH_TRY(const auto answer,
                   client->call<lsp::HearthTextResult>("hearth/complete", params, kPatience));
        if (answer.prompt_tokens == 0) continue;  // nothing was asked of the model at this place
        if (asked++ == 0) {
            cold_ms = answer.total_ms;
            continue;
        }
        round_trip_ms.values.push_back(to_ms(std::chrono::steady_clock::now() - sent));
        first_token_ms.values.push_back(answer.first_token_ms);
        total_ms.values.push_back(answer.total_ms);
        prompt_tokens.values.push_back(static_cast<double>(answer.prompt_tokens));
        fresh_tokens.values.push_back(
            static_cast<double>(answer.prompt_tokens - answer.cached_tokens));
    }
    std::printf("%zu keys, %zu requests asked the model; the first, cold one took %.1f ms\n\n",
                end - begin,
                asked,
                cold_ms);
    std::printf("| | median | p95 |\n| --- | --- | --- |\n");
    first_token_ms.print("first token, ms");
    total_ms.print("whole suggestion, ms");
    round_trip_ms.print("round trip of the client, ms");
    prompt_tokens.print("prompt tokens");
    fresh_tokens.print("of them computed");
    return {};
}

}  // namespace
}  // namespace hearth

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: hearth-bench-keystroke FILE [KEYS]\n");
        return 2;
    }
    const std::size_t keys = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : hearth::kKeysDefault;
    const hearth::Result<void> outcome = hearth::measure(argv[1], keys);
    if (outcome) return 0;
    std::fprintf(stderr, "hearth-bench-keystroke: %s\n", outcome.error().text.c_str());
    return 1;
}
