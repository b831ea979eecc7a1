// hearth-train: trains a small deepseek2 model on token shards, on the processor alone.
#include <cmath>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <map>
#include <string>

#include "training/tokenizer/tokenizer_file.h"
#include "training/trainer/math_select.h"
#include "training/trainer/model_file.h"
#include "training/trainer/trainer.h"

namespace hearth::trainer {
namespace {

constexpr const char* kUsage =
    R"(hearth-train run --data DIR --out DIR [options]   train, or go on training
  --shape NAME          tiny-cpu (default) or c1
  --tokens N            stop after N tokens, the decay included
  --minutes M           stop after M minutes, the decay included
  --epochs E            stop after the train shards were read E times and the decay on top of that
  --threads T           data-parallel threads (1)
  --resume DIR          go on from DIR/checkpoint.bin, with its counters and moments; to where that
                        run was going, where neither --tokens nor --minutes is given
  --chain DIR           go on from DIR/stable.bin, the state before the decay; limits are what is added
  --step-tokens N       tokens of one update (8192)
  --window N            tokens of one window (512)
  --rate R              learning rate of matrices (0.005)
  --adam-rate R         learning rate of the embedding, norms and routers (0.003)
  --weights all|experts what learns: all of it, or the routed experts alone, which keep more of what
                        they knew of other code (all)
  --head-frequent N     most common tokens that every step scores (1024)
  --head-sampled N      others, drawn at random (1024); 0 scores the whole vocabulary
  --bytes-per-token B   lets the log say bits per byte
  --math NAME           instruction set: amx, avx512bf16, avx512, avx2, portable (default: the best present)
  --seed S              of the first weights (1)
  --from FILE.gguf      start from the weights of a model file, with fresh moments
  exit status: 3 where it was stopped (SIGTERM): then checkpoint.bin is not decayed, to be resumed
hearth-train export --checkpoint DIR (--tokenizer FILE | --like FILE.gguf) --out FILE.gguf [options]
  --like FILE.gguf              tokenizer, name, description, window and mark of that model, where
                                they are not given
  --blend FILE.gguf --blend-share S   S (0 to 1) of that model's weights and the rest of the checkpoint's
  --name, --description TEXT    for the file's metadata
  --window N                    tokens that its readers may take at a time (512)
  --infill-mark line|none|cursor            where readers put <|fim_middle|> (line)
  --experts, --matrices, --embedding TYPE   Q4_0, Q6_K and Q6_K (defaults); F16 and F32 round nothing
hearth-train export-mtp --checkpoint DIR (--tokenizer FILE | --like FILE.gguf) --out FILE.gguf [options]
  the same of a block for multi-token prediction (training/gpu/run.py train --mtp)
hearth-train import --model FILE.gguf --out DIR
  its weights as DIR/checkpoint.bin, to go on from with training/gpu
hearth-train tokenizer --model FILE.gguf --out FILE
  the tokenizer of a model file, to cut new shards for it
hearth-train evaluate (--checkpoint DIR | --model FILE.gguf) --data DIR --tokenizer FILE
  --windows N           of each held-out shard (100)
  nats per token and bits per byte of every heldout-*.bin; a checkpoint with its experts rounded
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

    /// One of `words`; the first where none is given.
    std::string choice(const std::string& key, std::initializer_list<const char*> words) {
        std::string value = text(key, *words.begin());
        std::string known;
        for (const char* word : words) {
            if (value == word) return value;
            known += (known.empty() ? "" : " or ") + std::string(word);
        }
        wrong_ = "--" + key + " wants " + known + ", found '" + value + "'";
        return value;
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
    options.experts_only = arguments.choice("weights", {"all", "experts"}) == "experts";
    options.log_steps = std::max<std::size_t>(1, arguments.whole("log-steps", options.log_steps));
    return options;
}

/// Also completes `limits`, which belong to a run that goes on.
Result<TrainState> start_state(Arguments& arguments, RunLimits& limits) {
    const std::string resume = arguments.text("resume");
    const std::string chain = arguments.text("chain");
    const std::string from = arguments.text("from");
    const std::string preset = arguments.text("shape", "tiny-cpu");
    const auto seed = static_cast<std::uint64_t>(arguments.whole("seed", 1));
    if (!resume.empty()) {
        const bool has_limits = limits.tokens_max > 0 || limits.seconds_max > 0;
        if (!has_limits) {
            HEARTH_TRY(limits, load_unfinished(resume));
        }
        return load_checkpoint(resume + "/checkpoint.bin");
    }
    if (!chain.empty()) {
        HEARTH_TRY(TrainState state, load_checkpoint(chain + "/stable.bin"));
        limits.add(static_cast<double>(state.tokens), state.seconds);
        return state;
    }
    if (!from.empty()) return load_model(from);
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
    RunOptions options = parse_run_options(arguments);
    HEARTH_TRY(TrainState state, start_state(arguments, options.limits));
    const std::string folder = arguments.text("data");
    const std::string math_name = arguments.text("math");
    const double epochs = arguments.number("epochs", 0);
    HEARTH_CHECK(arguments.finish());
    if (folder.empty() || options.out_folder.empty() ||
        (options.limits.tokens_max <= 0 && options.limits.seconds_max <= 0 && epochs <= 0))
        return fail(ErrorCode::invalid_argument,
                    "run needs --data, --out, and --tokens, --minutes or --epochs",
                    "trainer");
    if (options.experts_only && state.shape.dense_layer_count == state.shape.layer_count)
        return fail(ErrorCode::invalid_argument,
                    "--weights experts: this model has no routed experts",
                    "trainer");
    std::error_code error;
    std::filesystem::create_directories(options.out_folder, error);
    HEARTH_TRY(const Math<float>* math, select_math(math_name, log));
    HEARTH_TRY(RunData data, load_data(folder, state.shape.vocab_size));
    if (data.train.window_count(options.window_tokens) == 0)
        return fail(
            ErrorCode::not_found,
            "no train-*.bin with a window of tokens in " + folder + "; `make shards` cuts them",
            "trainer");
    if (epochs > 0)
        options.limits.tokens_max =
            epochs * static_cast<double>(data.train.tokens().size()) / kDecayBegin;
    log.info("trainer",
             std::string("products by ") + math->name + "; tokens: train " +
                 std::to_string(data.train.tokens().size()) + ", decay " +
                 std::to_string(data.decay.tokens().size()) + ", held-out " +
                 std::to_string(data.heldout.tokens().size()) + "; weights " +
                 std::to_string(state.weights.size()));
    const SteadyClock clock;
    const std::string out = options.out_folder;
    Trainer trainer(std::move(options), *math, std::move(data), std::move(state), log, clock);
    HEARTH_TRY(const RunEnd end, trainer.run(stop_requested));
    if (end == RunEnd::complete) return {};
    return fail(ErrorCode::cancelled,
                "stopped on request; " + out +
                    "/checkpoint.bin is not decayed: go on with --resume " + out +
                    " in place of --from or --chain, and without --tokens and --minutes",
                "trainer");
}

Result<compute::Dtype> parse_type(const std::string& name) {
    const auto dtype = compute::parse_dtype(name);
    if (dtype) return *dtype;
    return fail(ErrorCode::invalid_argument, "no type is called '" + name + "'", "trainer");
}

/// Moves the weights `share` of the way to those of a model file of the same shape.
Result<void> blend(TrainState& state, const std::string& path, double share) {
    if (!(share >= 0 && share <= 1))
        return fail(ErrorCode::invalid_argument, "--blend-share wants 0 to 1", "trainer");
    HEARTH_TRY(const TrainState other, load_model(path));
    if (other.shape != state.shape)
        return fail(ErrorCode::invalid_argument,
                    path + " has another shape than the checkpoint, so they cannot be blended",
                    "trainer");
    for (std::size_t i = 0; i < state.weights.size(); ++i) {
        state.weights[i] = std::lerp(state.weights[i], other.weights[i], static_cast<float>(share));
    }
    return {};
}

Result<void> export_model(Arguments arguments, bool is_mtp) {
    const std::string checkpoint = arguments.text("checkpoint") + "/checkpoint.bin";
    HEARTH_TRY(TrainState state,
               is_mtp ? load_mtp_checkpoint(checkpoint) : load_checkpoint(checkpoint));
    const std::string blended = is_mtp ? "" : arguments.text("blend");
    if (!blended.empty()) {
        HEARTH_CHECK(blend(state, blended, arguments.number("blend-share", 0.5)));
    }
    const std::string like = arguments.text("like");
    const std::string path = arguments.text("tokenizer");
    HEARTH_TRY(
        const auto tokenizer,
        path.empty() && !like.empty() ? load_tokenizer(like) : training::TokenizerFile::load(path));
    ModelFileOptions options;
    if (!like.empty()) {
        HEARTH_TRY(options, load_options(like));
    }
    options.name = arguments.text("name", options.name);
    options.description = arguments.text("description", options.description);
    options.context_length =
        static_cast<std::uint32_t>(arguments.whole("window", options.context_length));
    HEARTH_TRY(options.expert_dtype, parse_type(arguments.text("experts", "Q4_0")));
    HEARTH_TRY(options.matrix_dtype, parse_type(arguments.text("matrices", "Q6_K")));
    HEARTH_TRY(options.embedding_dtype, parse_type(arguments.text("embedding", "Q6_K")));
    options.infill_mark = arguments.text("infill-mark", options.infill_mark);
    const std::string out = arguments.text("out");
    HEARTH_CHECK(arguments.finish());
    const std::string& mark = options.infill_mark;
    if (mark != "line" && mark != "none" && mark != "cursor")
        return fail(ErrorCode::invalid_argument,
                    "--infill-mark wants line, none or cursor, found '" + mark + "'",
                    "trainer");
    const auto write = is_mtp ? write_mtp_block : write_model;
    return write(state.shape, state.weights, tokenizer, options, out);
}

Result<void> import_model(Arguments arguments) {
    HEARTH_TRY(TrainState state, load_model(arguments.text("model")));
    const std::string folder = arguments.text("out");
    HEARTH_CHECK(arguments.finish());
    state.moments = {};  // weights alone
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    return save_checkpoint(state, folder + "/checkpoint.bin");
}

Result<void> write_tokenizer(Arguments arguments) {
    HEARTH_TRY(const auto tokenizer, load_tokenizer(arguments.text("model")));
    const std::string out = arguments.text("out");
    HEARTH_CHECK(arguments.finish());
    std::ofstream stream(out, std::ios::binary);
    tokenizer.write(stream);
    if (!stream.flush()) return fail(ErrorCode::io, "cannot write " + out, "trainer");
    return {};
}

/// The state that `evaluate` measures: of a file, or of a checkpoint as its file would be.
Result<TrainState> evaluated_state(Arguments& arguments) {
    const std::string model = arguments.text("model");
    const std::string checkpoint = arguments.text("checkpoint");
    if (!model.empty()) return load_model(model);
    HEARTH_TRY(TrainState state, load_checkpoint(checkpoint + "/checkpoint.bin"));
    state.weights = round_experts(ParameterLayout(state.shape), state.weights);
    return state;
}

Result<void> evaluate_model(Arguments arguments, Log& log) {
    HEARTH_TRY(const TrainState state, evaluated_state(arguments));
    HEARTH_TRY(const auto tokenizer, training::TokenizerFile::load(arguments.text("tokenizer")));
    const std::string folder = arguments.text("data");
    EvaluationOptions options;
    options.windows_max = arguments.whole("windows", 100);
    options.window_tokens = arguments.whole("window", options.window_tokens);
    HEARTH_CHECK(arguments.finish());
    HEARTH_TRY(const Math<float>* math, select_math("", log));
    std::vector<std::size_t> token_bytes;
    for (std::size_t id = 0; id < tokenizer.vocab_size(); ++id) {
        const auto token = static_cast<training::TokenId>(id);
        token_bytes.push_back(tokenizer.is_special(token) ? 0
                                                          : tokenizer.token_bytes(token).size());
    }
    token_bytes.resize(state.shape.vocab_size, 0);
    options.token_bytes = token_bytes;
    Evaluation all;
    for (const std::string& path : shard_paths(folder, "heldout")) {
        const std::string name = std::filesystem::path(path).filename().string();
        HEARTH_TRY(const TokenShards shards,
                   TokenShards::load(folder, name, state.shape.vocab_size));
        const Evaluation one = evaluate(*math, state.shape, state.weights, shards, options);
        std::printf("%-20s %8zu tokens  %.4f nats/token  %.4f bits/byte\n",
                    name.c_str(),
                    one.tokens,
                    one.nats_per_token(),
                    one.bits_per_byte());
        all.nats += one.nats;
        all.tokens += one.tokens;
        all.bytes += one.bytes;
    }
    std::printf("%-20s %8zu tokens  %.4f nats/token  %.4f bits/byte\n",
                "all",
                all.tokens,
                all.nats_per_token(),
                all.bits_per_byte());
    return {};
}

Result<void> run_command(int count, char** values, Log& log) {
    const std::string command = values[1];
    HEARTH_TRY(Arguments arguments, Arguments::parse(count, values));
    if (command == "run") return run(std::move(arguments), log);
    if (command == "export") return export_model(std::move(arguments), false);
    if (command == "export-mtp") return export_model(std::move(arguments), true);
    if (command == "import") return import_model(std::move(arguments));
    if (command == "tokenizer") return write_tokenizer(std::move(arguments));
    if (command == "evaluate") return evaluate_model(std::move(arguments), log);
    return fail(ErrorCode::invalid_argument,
                "no command is called '" + command + "'; see hearth-train --help",
                "trainer");
}

}  // namespace
}  // namespace hearth::trainer

int main(int count, char** values) {
    namespace trainer = hearth::trainer;
    if (count < 2 || std::string(values[1]) == "--help") {
        std::fputs(trainer::kUsage, count < 2 ? stderr : stdout);
        return count < 2 ? 2 : 0;
    }
    std::signal(SIGTERM, trainer::on_signal);
    std::signal(SIGINT, trainer::on_signal);
    hearth::Log log;
    const hearth::Result<void> done = trainer::run_command(count, values, log);
    if (done) return 0;
    std::fprintf(stderr, "hearth-train: %s\n", done.error().text.c_str());
    switch (done.error().code) {
        case hearth::ErrorCode::invalid_argument:
            return 2;
        case hearth::ErrorCode::cancelled:
            return 3;
        default:
            return 1;
    }
}
