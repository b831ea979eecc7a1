#include "core/cli/bench.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <ostream>

#include "core/cli/bench_drafts.h"
#include "core/cli/engine_commands.h"
#include "core/cli/load_engine.h"
#include "core/cli/model_options.h"
#include "core/tokenizer/tokenizer.h"

namespace hearth::cli {
namespace {

constexpr std::int32_t kSequencesMax = 64;
constexpr std::int32_t kKeystrokeDepth = 3000;
/// Tokens that a keystroke and its answer put into the cache.
constexpr std::int32_t kKeystrokeRoom = kKeystrokeTokens + kKeystrokeAnswerTokens - 1;
constexpr std::int64_t kReadBytesMax = std::int64_t{1}
                                       << 30;  ///< of memory that is read to compare

struct BenchOptions {
    ModelOptions model;
    BenchSettings settings;
    CLI::Option* json = nullptr;  ///< given without a file: instead of the table
    std::string json_path;
    std::string drafts_path;  ///< of a text; empty: drafts are not measured
    bool has_keystroke = false;
    double memory_gib = 0.0;  ///< of the device that may be used; 0: what is free
};

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

/// Times pieces of work on a Forward.
class Measurer {
  public:
    Measurer(Forward& forward,
             std::int32_t vocab_size,
             const BenchSettings& settings,
             const Clock& clock)
        : forward_(forward),
          settings_(settings),
          clock_(clock),
          tokens_(even_tokens(std::max({settings.prompt_tokens,
                                        kKeystrokeRoom,
                                        settings.decode_tokens * limits_of(settings).sequence_count,
                                        settings.step_tokens}),
                              vocab_size)) {}

    Result<void> fill_cache() {
        const ForwardLimits limits = limits_of(settings_);
        const std::int32_t room = std::max(limits.first_tokens_max, limits.sequence_tokens_max);
        return forward_.fill_cache(first(std::min(room, settings_.step_tokens)));
    }

    Result<double> prefill() {
        const std::int32_t depth = settings_.depths.front();
        const std::span<const std::int32_t> prompt = first(settings_.prompt_tokens);
        const auto step = static_cast<std::size_t>(settings_.step_tokens);
        return timed(settings_.prompt_tokens, [&]() -> Result<void> {
            for (std::size_t begin = 0; begin < prompt.size(); begin += step) {
                HEARTH_TRY(
                    [[maybe_unused]] const auto output,
                    forward_.step(prompt.subspan(begin, std::min(step, prompt.size() - begin)),
                                  depth + static_cast<std::int32_t>(begin),
                                  Forward::LogitRows::last));
            }
            return {};
        });
    }

    Result<double> decode_ahead(std::int32_t depth) {
        return timed(settings_.decode_tokens,
                     [&] { return forward_.run_ahead(first(settings_.decode_tokens), 1, depth); });
    }

    Result<double> decode_waiting(std::int32_t depth) {
        return timed(settings_.decode_tokens, [&]() -> Result<void> {
            for (std::int32_t i = 0; i < settings_.decode_tokens; ++i) {
                HEARTH_TRY(
                    [[maybe_unused]] const auto output,
                    forward_.step(first(i + 1).last(1), depth + i, Forward::LogitRows::last));
            }
            return {};
        });
    }

    Result<double> decode_together(std::int32_t sequences) {
        const std::int32_t tokens = settings_.decode_tokens * sequences;
        return timed(tokens, [&]() -> Result<void> {
            if (forward_.picks_tokens()) {
                return forward_.run_ahead(first(tokens), sequences, settings_.sequence_depth);
            }
            for (std::int32_t i = 0; i < settings_.decode_tokens; ++i) {
                HEARTH_TRY([[maybe_unused]] const auto output,
                           forward_.step_each(
                               first((i + 1) * sequences).last(static_cast<std::size_t>(sequences)),
                               settings_.sequence_depth + i));
            }
            return {};
        });
    }

    /// Milliseconds.
    Result<double> keystroke() {
        const TimePoint begin = clock_.now();
        HEARTH_CHECK(
            forward_.answer(first(kKeystrokeRoom), kKeystrokeTokens, settings_.keystroke_depth));
        return to_ms(clock_.now() - begin);
    }

  private:
    [[nodiscard]] std::span<const std::int32_t> first(std::int32_t count) const {
        return std::span(tokens_).first(static_cast<std::size_t>(count));
    }

    /// Tokens per second.
    template <typename Work>
    Result<double> timed(std::int32_t tokens, Work work) {
        const TimePoint begin = clock_.now();
        HEARTH_CHECK(work());
        const double seconds = to_ms(clock_.now() - begin) / 1000.0;
        return static_cast<double>(tokens) / std::max(seconds, 1e-9);
    }

    Forward& forward_;
    const BenchSettings& settings_;
    const Clock& clock_;
    std::vector<std::int32_t> tokens_;
};

Result<void> check(const BenchSettings& settings, const model::ModelConfig& config) {
    if (settings.prompt_tokens == 0 && settings.decode_tokens == 0 &&
        settings.keystroke_depth == 0) {
        return fail(
            ErrorCode::invalid_argument, "nothing to measure: -p and -n are both 0", "bench");
    }
    const ForwardLimits limits = limits_of(settings);
    const std::int32_t tokens_max = std::max(limits.first_tokens_max, limits.sequence_tokens_max);
    if (tokens_max > config.context_length) {
        return fail(ErrorCode::invalid_argument,
                    std::to_string(tokens_max) + " tokens are more than the model's context of " +
                        std::to_string(config.context_length) + "; lower -p, -n or -d",
                    "bench");
    }
    return {};
}

/// The machine's memory holds whatever is asked for: it is measured, however slow.
Result<model::Placement> place_for(const BenchOptions& options,
                                   const BenchSettings& settings,
                                   const model::Model& model,
                                   const compute::Backend& backend) {
    const auto memory = backend.memory();
    if (options.memory_gib == 0.0 && (!memory || memory->is_host)) return model::Placement{};
    const ForwardLimits limits = limits_of(settings);
    return fit(model,
               backend,
               {.free_bytes = static_cast<std::int64_t>(options.memory_gib * 0x1p30),
                .context_tokens = std::max(limits.first_tokens_max,
                                           limits.sequence_count * limits.sequence_tokens_max),
                .step_tokens = std::max(limits.step_tokens, limits.sequence_count),
                .costs = {.cache_type = settings.cache_type}});
}

Result<BenchReport> run_report(const BenchOptions& options, const EngineContext& context) {
    const SteadyClock clock;
    const auto since = [&clock](TimePoint begin) { return to_ms(clock.now() - begin) / 1000.0; };
    const TimePoint begin = clock.now();
    HEARTH_TRY(const auto model, open_model(options.model, context));
    const double made_s = since(begin);
    BenchSettings settings = options.settings;
    HEARTH_TRY(settings.cache_type, cache_type(options.model, context));
    settings.sequence_depth = std::max(
        0,
        std::min(settings.sequence_depth, model->config().context_length - settings.decode_tokens));
    if (options.has_keystroke) {
        settings.keystroke_depth =
            std::clamp(model->config().context_length - kKeystrokeRoom, 1, kKeystrokeDepth);
    }
    HEARTH_CHECK(check(settings, model->config()));
    HEARTH_TRY(const auto backend, open_backend(options.model, context));
    if (settings.step_tokens == 0) {
        settings.step_tokens = model::prompt_tokens_per_step(backend->name(), model->config());
    }

    const auto memory_before = backend->memory();
    const TimePoint load_begin = clock.now();
    HEARTH_TRY(const model::Placement placement, place_for(options, settings, *model, *backend));
    HEARTH_TRY(const auto forward,
               Forward::make(*model, *backend, limits_of(settings), placement.host_experts));
    const double load_s = since(load_begin);
    const auto memory_after = backend->memory();
    BenchReport report{.model = model->config().name,
                       .architecture = model->config().architecture,
                       .backend = std::string(backend->name()),
                       .device = backend->description(),
                       .cache_bytes = forward->cache_bytes(),
                       .made_s = made_s,
                       .load_s = load_s,
                       .bytes_per_token = forward->bytes_per_token(),
                       .cache_bytes_per_token = forward->cache_bytes_per_token(),
                       .settings = settings,
                       .result = {}};
    for (const compute::Tensor& weight : model->weights()) {
        report.weight_bytes += static_cast<std::int64_t>(weight.bytes.size());
    }
    if (memory_before && memory_after && !memory_after->is_host) {
        report.device_bytes = memory_before->free_bytes - memory_after->free_bytes;
    }
    HEARTH_TRY(report.result, measure(*forward, model->config().vocab_size, settings, clock));
    report.host_expert_bytes = placement.host_bytes;
    report.expert_uses = forward->expert_uses();
    report.read_bytes_per_s =
        backend->measure_read_rate(std::min(report.weight_bytes, kReadBytesMax));
    return report;
}

/// Answers behind pieces of a text, by an engine with the model's own block and one without.
Result<DraftBench> run_drafts(const BenchOptions& options, const EngineContext& context) {
    HEARTH_TRY(const auto model, open_model(options.model, context));
    if (!model->prediction(1, 1)) {
        return fail(ErrorCode::invalid_argument,
                    model->config().name +
                        " has no block for multi-token prediction; name one with "
                        "--prediction-block",
                    "bench");
    }
    HEARTH_TRY(const auto tokenizer, tokenizer::Tokenizer::from_gguf(model->file()));
    HEARTH_TRY(const std::string text, read_file(options.drafts_path));
    HEARTH_TRY(const auto tokens, tokenizer->encode(text, {}));
    const BenchSettings& settings = options.settings;
    const std::int32_t context_tokens = settings.prompt_tokens + settings.decode_tokens;
    engine::EngineLimits limits{.context_tokens_max = context_tokens,
                                .cache_tokens = context_tokens + 2 * compute::kBlockTokens,
                                .sequences_max = 1};
    const SteadyClock clock;
    HEARTH_TRY(const LoadedEngine with, open_engine(options.model, model, limits, clock, context));
    if (!with.engine->status().has_predictor) {
        return fail(ErrorCode::unsupported, "this backend does not draft by a block", "bench");
    }
    limits.has_prediction = false;
    HEARTH_TRY(const LoadedEngine without,
               open_engine(options.model, model, limits, clock, context));
    return measure_drafts(*with.engine, *without.engine, tokens, settings);
}

Result<int> run_bench(const BenchOptions& options, const EngineContext& context) {
    HEARTH_TRY(BenchReport report, run_report(options, context));
    if (!options.drafts_path.empty()) {
        HEARTH_TRY(report.drafts, run_drafts(options, context));
    }
    const bool is_json = options.json->count() > 0;
    if (is_json && options.json_path.empty()) {
        context.out << to_json(report);
        return kExitDone;
    }
    print_table(context.out, report);
    if (is_json) {
        std::ofstream file(options.json_path);
        file << to_json(report);
        file.close();
        if (!file) {
            return fail(ErrorCode::io, "cannot write " + options.json_path, "bench");
        }
    }
    return kExitDone;
}

}  // namespace

Rate summarise(std::vector<double> values) {
    if (values.empty()) return {};
    std::sort(values.begin(), values.end());
    const std::size_t half = values.size() / 2;
    const double median =
        values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2.0;
    return {.median = median, .min = values.front(), .max = values.back()};
}

ForwardLimits limits_of(const BenchSettings& settings) {
    ForwardLimits limits{.step_tokens = settings.step_tokens, .cache_type = settings.cache_type};
    limits.first_tokens_max =
        std::max(settings.depths.front() + settings.prompt_tokens,
                 *std::ranges::max_element(settings.depths) + settings.decode_tokens);
    if (settings.keystroke_depth > 0) {
        limits.step_tokens = std::max(limits.step_tokens, kKeystrokeTokens);
        limits.first_tokens_max =
            std::max(limits.first_tokens_max, settings.keystroke_depth + kKeystrokeRoom);
    }
    if (!settings.sequence_counts.empty()) {
        limits.sequence_count = *std::ranges::max_element(settings.sequence_counts);
        limits.sequence_tokens_max = settings.sequence_depth + settings.decode_tokens;
    }
    return limits;
}

Result<BenchResult> measure(Forward& forward,
                            std::int32_t vocab_size,
                            const BenchSettings& settings,
                            const Clock& clock) {
    Measurer measurer(forward, vocab_size, settings, clock);
    HEARTH_CHECK(measurer.fill_cache());
    BenchResult result;
    /// The rate over the runs, after one to warm up.
    const auto rate_of = [&](auto measure_one) -> Result<Rate> {
        std::vector<double> rates;
        for (std::int32_t run = 0; run <= settings.run_count; ++run) {
            HEARTH_TRY(const double rate, measure_one());
            if (run > 0) rates.push_back(rate);
        }
        return summarise(std::move(rates));
    };
    if (settings.prompt_tokens > 0) {
        HEARTH_TRY(result.prefill, rate_of([&] { return measurer.prefill(); }));
    }
    if (settings.keystroke_depth > 0) {
        HEARTH_TRY(result.keystroke_ms, rate_of([&] { return measurer.keystroke(); }));
    }
    if (settings.decode_tokens == 0) return result;
    for (const std::int32_t depth : settings.depths) {
        HEARTH_TRY(const Rate waited, rate_of([&] { return measurer.decode_waiting(depth); }));
        result.decode.push_back(waited);
        if (result.decode.size() == 1) result.kernels_per_token = forward.kernels_per_run();
        if (!forward.picks_tokens()) continue;
        result.waited.push_back(waited);
        HEARTH_TRY(result.decode.back(), rate_of([&] { return measurer.decode_ahead(depth); }));
    }
    for (const std::int32_t sequences : settings.sequence_counts) {
        HEARTH_TRY(const Rate rate, rate_of([&] { return measurer.decode_together(sequences); }));
        result.throughput.push_back(rate);
    }
    return result;
}

void add_bench(Program& program, const EngineContext& context) {
    const auto options = std::make_shared<BenchOptions>();
    CLI::App* command =
        program.add("bench",
                    "Measure prefill and decode: tokens per second, bytes read per token",
                    [options, &context] { return run_bench(*options, context); });
    constexpr std::int32_t kTokensMax = 1 << 20;
    BenchSettings& settings = options->settings;
    settings.step_tokens = 0;
    add_model_option(*command, options->model);
    add_synthetic_option(*command, options->model);
    add_backend_options(*command, options->model);
    add_prediction_option(*command, options->model);
    command->add_option("-p", settings.prompt_tokens, "Tokens of prefill; 0: none")
        ->capture_default_str()
        ->check(CLI::Range(0, kTokensMax));
    command->add_option("-n", settings.decode_tokens, "Tokens of decode; 0: none")
        ->capture_default_str()
        ->check(CLI::Range(0, kTokensMax));
    command->add_option("-d,--context", settings.depths, "Tokens in the cache before: 0,4096,16384")
        ->delimiter(',')
        ->capture_default_str()
        ->check(CLI::Range(0, kTokensMax));
    command
        ->add_option(
            "--sequences", settings.sequence_counts, "Sequences that decode together: 1,8,64")
        ->delimiter(',')
        ->check(CLI::Range(1, kSequencesMax));
    command->add_flag("--keystroke",
                      options->has_keystroke,
                      "Also time a key: 3 new tokens behind 3,000 in the cache (or as many as the "
                      "context has room for) and an answer of 24");
    command
        ->add_option("--step",
                     settings.step_tokens,
                     "Tokens of one step of prefill; 0: as many as the engine takes")
        ->capture_default_str()
        ->check(CLI::Range(0, 4096));
    command->add_option("-r", settings.run_count, "Runs that are counted, after one to warm up")
        ->capture_default_str()
        ->check(CLI::Range(1, 1000));
    command
        ->add_option("--memory",
                     options->memory_gib,
                     "GiB of the device to use: experts beyond it stay in the host's memory "
                     "(default: what is free)")
        ->check(CLI::Range(0.0, 65536.0));
    command->add_option("--drafts",
                        options->drafts_path,
                        "A text: also answer behind -r pieces of it, -p tokens long, with the "
                        "drafts of the model's own block and without");
    options->json = command
                        ->add_option("--json",
                                     options->json_path,
                                     "Write JSON to a file beside the table; without a file, "
                                     "print it instead")
                        ->expected(0, 1);
}

}  // namespace hearth::cli
