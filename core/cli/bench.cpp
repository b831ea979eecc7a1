#include "core/cli/bench.h"

#include <algorithm>
#include <chrono>
#include <iomanip>
#include <ostream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "core/cli/engine_commands.h"
#include "core/cli/model_options.h"

namespace hearth::cli {
namespace {

struct BenchOptions {
    ModelOptions model;
    BenchSettings settings;
    bool is_json = false;
};

/// Runs `tokens` behind `position`, `step` at a time; the last token's logits only.
Result<void> run_tokens(Forward& forward,
                        std::span<const std::int32_t> tokens,
                        std::int32_t position,
                        std::int32_t step) {
    for (std::size_t begin = 0; begin < tokens.size(); begin += static_cast<std::size_t>(step)) {
        const auto piece =
            tokens.subspan(begin, std::min(static_cast<std::size_t>(step), tokens.size() - begin));
        HEARTH_TRY(
            [[maybe_unused]] const auto output,
            forward.step(
                piece, position + static_cast<std::int32_t>(begin), Forward::LogitRows::last));
    }
    return {};
}

std::vector<std::int32_t> even_tokens(std::int32_t count, std::int32_t vocab_size) {
    std::vector<std::int32_t> tokens;
    std::uint64_t state = 1;
    for (std::int32_t i = 0; i < count; ++i) {
        state = state * 6364136223846793005U + 1442695040888963407U;  // Knuth's MMIX generator
        tokens.push_back(
            static_cast<std::int32_t>((state >> 33) % static_cast<std::uint64_t>(vocab_size)));
    }
    return tokens;
}

nlohmann::ordered_json to_json(std::int32_t tokens, const Rate& rate) {
    return {{"tokens", tokens},
            {"tokens_per_s", {{"median", rate.median}, {"min", rate.min}, {"max", rate.max}}}};
}

/// What was measured, and on what.
struct Report {
    const model::Model& model;
    const compute::Backend& backend;
    const BenchSettings& settings;
    const BenchResult& result;
    std::int64_t bytes_per_token;
};

void print_json(std::ostream& out, const Report& report) {
    nlohmann::ordered_json json = {{"model", report.model.config().name},
                                   {"architecture", report.model.config().architecture},
                                   {"file_bytes", report.model.file().size_bytes()},
                                   {"backend", report.backend.name()},
                                   {"device", report.backend.description()},
                                   {"bytes_per_token", report.bytes_per_token},
                                   {"depth", report.settings.depth},
                                   {"runs", report.settings.run_count}};
    if (report.settings.prompt_tokens > 0) {
        json["prefill"] = to_json(report.settings.prompt_tokens, report.result.prefill);
    }
    if (report.settings.decode_tokens > 0) {
        json["decode"] = to_json(report.settings.decode_tokens, report.result.decode);
    }
    out << json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
}

void print_text(std::ostream& out, const Report& report) {
    const auto rate = [&](const char* what, std::int32_t tokens, const Rate& r) {
        std::ostringstream line;
        line << std::fixed << std::setprecision(1) << what << tokens << " tokens at depth "
             << report.settings.depth << ": " << r.median << " tokens/s (" << r.min << " to "
             << r.max << " over " << report.settings.run_count << " runs)";
        return line.str();
    };
    out << "model    " << report.model.config().name << " (" << report.model.config().architecture
        << ", " << report.model.file().size_bytes() << " bytes)\n"
        << "backend  " << report.backend.name() << ": " << report.backend.description() << "\n"
        << "weights  " << report.bytes_per_token << " bytes read per token\n";
    if (report.settings.prompt_tokens > 0) {
        out << rate("prefill  ", report.settings.prompt_tokens, report.result.prefill) << "\n";
    }
    if (report.settings.decode_tokens > 0) {
        const double bytes_per_s =
            report.result.decode.median * static_cast<double>(report.bytes_per_token);
        out << rate("decode   ", report.settings.decode_tokens, report.result.decode) << ", "
            << std::fixed << std::setprecision(2) << bytes_per_s / 1e9 << " GB/s of weights\n";
    }
}

Result<int> run_bench(const BenchOptions& options, const EngineContext& context) {
    const BenchSettings& settings = options.settings;
    if (settings.prompt_tokens == 0 && settings.decode_tokens == 0) {
        return fail(
            ErrorCode::invalid_argument, "nothing to measure: -p and -n are both 0", "bench");
    }
    HEARTH_TRY(const auto model, open_model(options.model, context));
    const std::int64_t tokens_max =
        std::int64_t{settings.depth} + std::max(settings.prompt_tokens, settings.decode_tokens);
    if (tokens_max > model->config().context_length) {
        return fail(ErrorCode::invalid_argument,
                    std::to_string(tokens_max) + " tokens are more than the model's context of " +
                        std::to_string(model->config().context_length) + "; lower -p, -n or -d",
                    "bench");
    }
    HEARTH_TRY(const auto backend, open_backend(options.model, context));
    HEARTH_TRY(const auto forward,
               Forward::make(*model, *backend, static_cast<std::int32_t>(tokens_max)));
    HEARTH_TRY(const BenchResult result,
               measure(*forward, model->config().vocab_size, settings, SteadyClock()));
    const Report report{.model = *model,
                        .backend = *backend,
                        .settings = settings,
                        .result = result,
                        .bytes_per_token = forward->bytes_per_token()};
    if (options.is_json) {
        print_json(context.out, report);
    } else {
        print_text(context.out, report);
    }
    return kExitDone;
}

}  // namespace

Rate summarise(std::vector<double> tokens_per_second) {
    if (tokens_per_second.empty()) return {};
    std::sort(tokens_per_second.begin(), tokens_per_second.end());
    const std::size_t half = tokens_per_second.size() / 2;
    const double median = tokens_per_second.size() % 2 == 1
                              ? tokens_per_second[half]
                              : (tokens_per_second[half - 1] + tokens_per_second[half]) / 2.0;
    return {.median = median, .min = tokens_per_second.front(), .max = tokens_per_second.back()};
}

Result<BenchResult> measure(Forward& forward,
                            std::int32_t vocab_size,
                            const BenchSettings& settings,
                            const Clock& clock) {
    const std::vector<std::int32_t> tokens = even_tokens(
        settings.depth + std::max(settings.prompt_tokens, settings.decode_tokens), vocab_size);
    const std::span<const std::int32_t> before(tokens.data(),
                                               static_cast<std::size_t>(settings.depth));
    HEARTH_CHECK(run_tokens(forward, before, 0, kStepTokens));

    const auto timed = [&](std::int32_t count, std::int32_t step) -> Result<double> {
        const std::span<const std::int32_t> part(tokens.data() + settings.depth,
                                                 static_cast<std::size_t>(count));
        const TimePoint begin = clock.now();
        HEARTH_CHECK(run_tokens(forward, part, settings.depth, step));
        const double seconds = to_ms(clock.now() - begin) / 1000.0;
        return static_cast<double>(count) / std::max(seconds, 1e-9);
    };
    std::vector<double> prefill;
    std::vector<double> decode;
    for (std::int32_t run = 0; run <= settings.run_count; ++run) {
        const bool is_warm_up = run == 0;
        if (settings.prompt_tokens > 0) {
            HEARTH_TRY(const double rate, timed(settings.prompt_tokens, kStepTokens));
            if (!is_warm_up) prefill.push_back(rate);
        }
        if (settings.decode_tokens > 0) {
            HEARTH_TRY(const double rate, timed(settings.decode_tokens, 1));
            if (!is_warm_up) decode.push_back(rate);
        }
    }
    return BenchResult{.prefill = summarise(prefill), .decode = summarise(decode)};
}

void add_bench(Program& program, const EngineContext& context) {
    const auto options = std::make_shared<BenchOptions>();
    CLI::App* command =
        program.add("bench",
                    "Measure prefill and decode: tokens per second, bytes read per token",
                    [options, &context] { return run_bench(*options, context); });
    constexpr std::int32_t kTokensMax = 1 << 20;
    BenchSettings& settings = options->settings;
    add_model_option(*command, options->model);
    add_backend_options(*command, options->model);
    command->add_option("-p", settings.prompt_tokens, "Tokens of prefill; 0: none")
        ->capture_default_str()
        ->check(CLI::Range(0, kTokensMax));
    command->add_option("-n", settings.decode_tokens, "Tokens of decode; 0: none")
        ->capture_default_str()
        ->check(CLI::Range(0, kTokensMax));
    command->add_option("-d", settings.depth, "Tokens in the cache before")
        ->capture_default_str()
        ->check(CLI::Range(0, kTokensMax));
    command->add_option("-r", settings.run_count, "Runs that are counted, after one to warm up")
        ->capture_default_str()
        ->check(CLI::Range(1, 1000));
    command->add_flag("--json", options->is_json, "Print JSON");
}

}  // namespace hearth::cli
