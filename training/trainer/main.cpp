// hearth-train: trains a small deepseek2 model on token shards, on the processor alone.
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>

#include "training/trainer/math_select.h"
#include "training/trainer/trainer.h"

namespace hearth::trainer {
namespace {

constexpr const char* kUsage =
    R"(hearth-train run --data DIR --out DIR [options]   train, or go on training
  --shape NAME          tiny-cpu (default) or c1
  --tokens N            stop after N tokens, the decay included
  --minutes M           stop after M minutes, the decay included
  --threads T           data-parallel threads (1)
  --resume DIR          go on from DIR/checkpoint.bin, with its counters and moments
  --step-tokens N       tokens of one update (8192)
  --window N            tokens of one window (512)
  --rate R              learning rate of matrices (0.005)
  --adam-rate R         learning rate of the embedding, norms and routers (0.003)
  --head-frequent N     most common tokens that every step scores (1024)
  --head-sampled N      others, drawn at random (1024); 0 scores the whole vocabulary
  --bytes-per-token B   lets the log say bits per byte
  --math NAME           instruction set: avx2, portable (default: the best present)
  --seed S              of the first weights (1)
hearth-train evaluate --data DIR --checkpoint FILE [--prefix heldout] [--windows N] [--rounded 1]
  data is a folder of train-*.bin, decay-*.bin and heldout-*.bin: 16-bit token ids
)";

std::atomic<bool> stop_requested{false};

void on_signal(int) {
    stop_requested = true;
}

/// "--key value" pairs after the command.
class Arguments {
  public:
    static Result<Arguments> parse(int count, char** values) {
        Arguments arguments;
        for (int i = 2; i < count; i += 2) {
            const std::string key = values[i];
            if (key.rfind("--", 0) != 0 || i + 1 >= count)
                return fail(ErrorCode::invalid_argument,
                            "expected --name value, found '" + key + "'; see hearth-train --help",
                            "trainer");
            arguments.values_[key.substr(2)] = values[i + 1];
        }
        return arguments;
    }

    std::string text(const std::string& key, std::string otherwise = "") {
        const auto found = values_.find(key);
        if (found == values_.end()) return otherwise;
        otherwise = found->second;
        values_.erase(found);
        return otherwise;
    }

    double number(const std::string& key, double otherwise) {
        const std::string value = text(key);
        if (value.empty()) return otherwise;
        char* end = nullptr;
        const double parsed = std::strtod(value.c_str(), &end);
        if (*end != '\0' || parsed < 0)
            wrong_ = "--" + key + " wants a number, found '" + value + "'";
        return parsed;
    }

    std::size_t whole(const std::string& key, std::size_t otherwise) {
        return static_cast<std::size_t>(number(key, static_cast<double>(otherwise)));
    }

    /// After all were asked: an unknown name or a bad number.
    [[nodiscard]] Result<void> finish() const {
        if (!wrong_.empty()) return fail(ErrorCode::invalid_argument, wrong_, "trainer");
        if (!values_.empty())
            return fail(
                ErrorCode::invalid_argument,
                "no option is called --" + values_.begin()->first + "; see hearth-train --help",
                "trainer");
        return {};
    }

  private:
    std::map<std::string, std::string> values_;
    std::string wrong_;
};

RunOptions parse_run_options(Arguments& arguments) {
    RunOptions options;
    options.out_folder = arguments.text("out");
    options.limits.tokens_max = arguments.number("tokens", 0);
    options.limits.seconds_max = arguments.number("minutes", 0) * 60;
    options.threads = std::max<std::size_t>(1, arguments.whole("threads", 1));
    options.window_tokens = arguments.whole("window", options.window_tokens);
    options.step_tokens = arguments.whole("step-tokens", options.step_tokens);
    options.micro_windows = arguments.whole("micro-windows", options.micro_windows);
    options.matrix_rate = static_cast<float>(arguments.number("rate", options.matrix_rate));
    options.adam_rate = static_cast<float>(arguments.number("adam-rate", options.adam_rate));
    options.bias_rate = static_cast<float>(arguments.number("bias-rate", options.bias_rate));
    options.head_frequent = arguments.whole("head-frequent", options.head_frequent);
    options.head_sampled = arguments.whole("head-sampled", options.head_sampled);
    options.bytes_per_token = arguments.number("bytes-per-token", 0);
    options.log_steps = std::max<std::size_t>(1, arguments.whole("log-steps", options.log_steps));
    return options;
}

Result<TrainState> start_state(Arguments& arguments) {
    const std::string resume = arguments.text("resume");
    const std::string preset = arguments.text("shape", "tiny-cpu");
    const auto seed = static_cast<std::uint64_t>(arguments.whole("seed", 1));
    if (!resume.empty()) return load_checkpoint(resume + "/checkpoint.bin");
    HEARTH_TRY(const ModelShape shape, make_shape(preset));
    return make_state(shape, seed);
}

Result<RunData> load_data(const std::string& folder, std::size_t vocab_size) {
    HEARTH_TRY(TokenShards train, TokenShards::load(folder, "train-", vocab_size));
    HEARTH_TRY(TokenShards decay, TokenShards::load(folder, "decay-", vocab_size));
    HEARTH_TRY(TokenShards heldout, TokenShards::load(folder, "heldout", vocab_size));
    return RunData{std::move(train), std::move(decay), std::move(heldout)};
}

Result<void> run(Arguments arguments, Log& log) {
    HEARTH_TRY(TrainState state, start_state(arguments));
    RunOptions options = parse_run_options(arguments);
    const std::string folder = arguments.text("data");
    const std::string math_name = arguments.text("math");
    HEARTH_CHECK(arguments.finish());
    if (folder.empty() || options.out_folder.empty() ||
        (options.limits.tokens_max <= 0 && options.limits.seconds_max <= 0))
        return fail(ErrorCode::invalid_argument,
                    "run needs --data, --out, and --tokens or --minutes",
                    "trainer");
    std::error_code error;
    std::filesystem::create_directories(options.out_folder, error);
    HEARTH_TRY(const Math<float>* math, select_math(math_name, log));
    HEARTH_TRY(RunData data, load_data(folder, state.shape.vocab_size));
    if (data.train.window_count(options.window_tokens) == 0)
        return fail(
            ErrorCode::not_found, "no train-*.bin with a window of tokens in " + folder, "trainer");
    log.info("trainer",
             std::string("products by ") + math->name + "; tokens: train " +
                 std::to_string(data.train.tokens().size()) + ", decay " +
                 std::to_string(data.decay.tokens().size()) + ", held-out " +
                 std::to_string(data.heldout.tokens().size()) + "; weights " +
                 std::to_string(state.weights.size()));
    const SteadyClock clock;
    Trainer trainer(std::move(options), *math, std::move(data), std::move(state), log, clock);
    return trainer.run(stop_requested);
}

Result<void> evaluate_checkpoint(Arguments arguments, Log& log) {
    HEARTH_TRY(TrainState state, load_checkpoint(arguments.text("checkpoint")));
    const std::string folder = arguments.text("data");
    const std::string prefix = arguments.text("prefix", "heldout");
    const std::size_t windows = arguments.whole("windows", 200);
    const std::size_t length = arguments.whole("window", 512);
    const bool is_rounded = arguments.whole("rounded", 0) != 0;
    HEARTH_CHECK(arguments.finish());
    HEARTH_TRY(const Math<float>* math, select_math("", log));
    HEARTH_TRY(TokenShards shards, TokenShards::load(folder, prefix, state.shape.vocab_size));
    if (is_rounded) state.weights = round_experts(ParameterLayout(state.shape), state.weights);
    const double loss = evaluate(*math, state.shape, state.weights, shards, length, windows);
    std::printf("%.5f nats per token\n", loss);
    return {};
}

Result<void> run_command(int count, char** values, Log& log) {
    const std::string command = values[1];
    HEARTH_TRY(Arguments arguments, Arguments::parse(count, values));
    if (command == "run") return run(std::move(arguments), log);
    if (command == "evaluate") return evaluate_checkpoint(std::move(arguments), log);
    return fail(ErrorCode::invalid_argument,
                "no command is called '" + command + "'; see hearth-train --help",
                "trainer");
}

}  // namespace
}  // namespace hearth::trainer

int main(int count, char** values) {
    using namespace hearth;
    if (count < 2 || std::string(values[1]) == "--help") {
        std::fputs(trainer::kUsage, count < 2 ? stderr : stdout);
        return count < 2 ? 2 : 0;
    }
    std::signal(SIGTERM, trainer::on_signal);
    std::signal(SIGINT, trainer::on_signal);
    Log log;
    const Result<void> done = trainer::run_command(count, values, log);
    if (done) return 0;
    std::fprintf(stderr, "hearth-train: %s\n", done.error().text.c_str());
    return done.error().code == ErrorCode::invalid_argument ? 2 : 1;
}
