// The engine's commands on a tiny model: what they print, what they write, how they fail.
#include "core/cli/engine_commands.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <regex>
#include <sstream>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "core/compute/host_memory.h"
#include "kernels/reference/reference_backend.h"
#include "tests/support/model_runner.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_model.h"

namespace hearth::cli {
namespace {

struct Outcome {
    int code = 0;
    std::string out;
    std::string err;  ///< of the Program, which writes to the process's own
};

/// Collects what the process writes to stdout (help) and stderr (errors) while it lives.
class Captured {
  public:
    Captured() : out_(std::cout.rdbuf(text_out_.rdbuf())), err_(std::cerr.rdbuf(text_.rdbuf())) {}
    ~Captured() {
        std::cout.rdbuf(out_);
        std::cerr.rdbuf(err_);
    }
    Captured(const Captured&) = delete;
    Captured& operator=(const Captured&) = delete;
    [[nodiscard]] std::string out() const { return text_out_.str(); }
    [[nodiscard]] std::string err() const { return text_.str(); }

  private:
    std::ostringstream text_out_, text_;
    std::streambuf* out_;
    std::streambuf* err_;
};

Outcome run(std::vector<std::string> words,
            const std::string& input = "",
            const std::string& settings_path = "/nonexistent/settings.json") {
    std::istringstream in(input);
    std::ostringstream out;
    const Captured captured;
    const EngineContext context{.settings_path = settings_path,
                                .program_folder = "/nonexistent/bin",
                                .in = in,
                                .out = out,
                                .err = std::cerr};
    Program program("hearth-engine", "test");
    add_engine_commands(program, context);
    words.insert(words.begin(), "hearth-engine");
    std::vector<char*> argv;
    for (std::string& word : words) {
        argv.push_back(word.data());
    }
    const int code = program.run(static_cast<int>(argv.size()), argv.data());
    return {code, out.str() + captured.out(), captured.err()};
}

class TinyFile {
  public:
    explicit TinyFile(const test::TinyModelOptions& options = {})
        : path_(test::write_tiny_model(folder_.file("tiny.gguf"), options)) {}

    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] std::string beside(const std::string& name) const { return folder_.file(name); }

  private:
    test::TemporaryFolder folder_;
    std::string path_;
};

TEST_CASE("every command explains itself and exits 0", "[cli]") {
    for (const std::vector<std::string>& words : {std::vector<std::string>{"--help"},
                                                  {"generate", "--help"},
                                                  {"logits", "--help"},
                                                  {"bench", "--help"},
                                                  {"tokenize", "--help"},
                                                  {"models", "--help"},
                                                  {"models", "info", "--help"}}) {
        const Outcome outcome = run(words);
        INFO(words.front());
        CHECK(outcome.code == kExitDone);
        CHECK_FALSE(outcome.out.empty());
    }
}

TEST_CASE("wrong use exits 2 and says what is wrong", "[cli]") {
    const TinyFile file;
    const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
        {{}, "subcommand"},
        {{"sing"}, "subcommand"},
        {{"generate", "--model", file.path()}, "--prompt"},
        {{"generate", "--model", file.path(), "--prompt", "x", "-n", "0"}, "-n"},
        {{"generate", "--model", file.path(), "--prompt", "x", "--backend", "toaster"}, "toaster"},
        {{"generate", "--model", file.path(), "--prompt", ""}, "prompt"},
        {{"logits", "--model", file.path(), "--out", "x"}, "--tokens"},
        {{"logits", "--model", file.path(), "--tokens", "1,zwei", "--out", "x"}, "zwei"},
        {{"logits", "--model", file.path(), "--tokens", "1,304", "--out", "x"}, "304"},
        {{"logits", "--model", file.path(), "--tokens=-1", "--out", "x"}, "-1"},
        {{"bench", "--model", file.path(), "-p", "0", "-n", "0"}, "-p"},
        {{"bench", "--model", file.path(), "-d", "2048"}, "2048"},
        {{"bench", "--model", file.path(), "-r", "0"}, "-r"},
        {{"bench", "--synthetic", "gpt9:Q8_0"}, "deepseek-v2-lite"},
        {{"bench", "--synthetic", "tiny:Q8_0", "--sequences", "65"}, "--sequences"},
        {{"models", "info", "--synthetic", "tiny"}, "Q4_K_M"},
    };
    for (const auto& [words, expected] : cases) {
        const Outcome outcome = run(words);
        INFO(expected << ": " << outcome.err);
        CHECK(outcome.code == kExitMisused);
        CHECK_THAT(outcome.err, Catch::Contains(expected));
    }
}

TEST_CASE("what cannot be done exits 1 and says what to do", "[cli]") {
    const TinyFile file;
    const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
        {{"models", "info", "/nonexistent.gguf"}, "/nonexistent.gguf"},
        {{"generate", "--model", "/nonexistent.gguf", "--prompt", "x"}, "/nonexistent.gguf"},
        {{"tokenize", "--model", file.path(), "/nonexistent.c"}, "/nonexistent.c"},
        {{"generate", "--model", file.path(), "--prompt", "x", "--grammar", "/nonexistent.gbnf"},
         "/nonexistent.gbnf"},
        {{"bench", "--model", file.path(), "--backend", "cuda"},
         "known here: cpu, reference; its library would be /nonexistent/bin/../lib/hearth/backends/"
         "libhearth_cuda.so, which is not there"},
        {{"bench", "--model", file.path(), "--backend", "cpu", "--exact"},
         "take the backend cuda or reference"},
        {{"logits", "--model", file.path(), "--tokens", "1", "--out", "/nonexistent/logits"},
         "/nonexistent/logits"},
    };
    for (const auto& [words, expected] : cases) {
        const Outcome outcome = run(words);
        INFO(expected << ": " << outcome.err);
        CHECK(outcome.code == kExitFailed);
        CHECK_THAT(outcome.err, Catch::Contains(expected));
    }
}

TEST_CASE("the settings name the model and the backend, options go before them", "[cli]") {
    unsetenv("HEARTH_MODEL");  // it would go before the settings
    const TinyFile file;
    const std::string settings = file.beside("settings.json");
    std::ofstream(settings) << R"({"model": ")" << file.path() << R"(", "backend": "reference"})";
    const std::vector<std::string> words = {"bench", "-p", "2", "-n", "0", "-r", "1"};
    CHECK_THAT(run(words, "", settings).out, Catch::Contains("backend  reference:"));
    auto other_backend = words;
    other_backend.insert(other_backend.end(), {"--backend", "cpu"});
    CHECK_THAT(run(other_backend, "", settings).out, Catch::Contains("backend  cpu:"));

    auto quantised = other_backend;
    quantised.insert(quantised.end(), {"--kv-cache", "q8_0"});
    CHECK_THAT(run(other_backend, "", settings).out, Catch::Contains("(kv_cache F16)"));
    CHECK_THAT(run(quantised, "", settings).out, Catch::Contains("(kv_cache Q8_0)"));
    quantised.back() = "f32";
    CHECK_THAT(run(quantised, "", settings).out, Catch::Contains("(kv_cache F32)"));
    std::ofstream(settings) << R"({"model": ")" << file.path() << R"(", "kv_cache": "q8_0"})";
    CHECK_THAT(run(other_backend, "", settings).out, Catch::Contains("(kv_cache Q8_0)"));
    std::ofstream(settings) << R"({"kv_cache": "q4_0"})";
    CHECK_THAT(run(words, "", settings).err,
               Catch::Contains(R"("kv_cache" should be "f16" or "q8_0")"));

    std::ofstream(settings) << "{";
    const Outcome broken = run(words, "", settings);
    CHECK(broken.code == kExitFailed);
    CHECK_THAT(broken.err, Catch::Contains(settings));
}

TEST_CASE("logits writes one row of floats per token", "[cli]") {
    const TinyFile file;
    const std::string path = file.beside("logits.f32");
    // More than one step of tokens, so that steps are seen to join.
    std::string list;
    std::vector<std::int32_t> tokens;
    for (std::int32_t i = 0; i < 150; ++i) {
        tokens.push_back((i * 7) % 300);
        list += (i == 0 ? "" : ",") + std::to_string(tokens.back());
    }
    const Outcome outcome = run({"logits",
                                 "--model",
                                 file.path(),
                                 "--backend",
                                 "reference",
                                 "--tokens",
                                 list,
                                 "--out",
                                 path});
    INFO(outcome.err);
    REQUIRE(outcome.code == kExitDone);
    std::ifstream written(path, std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(written), {});
    const auto backend = reference::make_reference_backend();
    const auto expected =
        test::ModelRunner(
            test::tiny_model(), *backend, {.tokens_max = 150, .sequence_tokens_max = 150})
            .run_chunks(tokens, 150);
    REQUIRE(bytes.size() == expected.size() * sizeof(float));
    CHECK(std::memcmp(bytes.data(), expected.data(), bytes.size()) == 0);
}

TEST_CASE("generate continues a prompt, the same text every time", "[cli]") {
    const TinyFile file;
    const std::vector<std::string> words = {"generate",
                                            "--model",
                                            file.path(),
                                            "--backend",
                                            "reference",
                                            "--prompt",
                                            "int main(",
                                            "-n",
                                            "20"};
    const Outcome first = run(words);
    INFO(first.err);
    REQUIRE(first.code == kExitDone);
    CHECK(first.out.size() > 20);
    CHECK(run(words).out == first.out);

    auto json_words = words;
    json_words.emplace_back("--json");
    const auto json = nlohmann::json::parse(run(json_words).out);
    CHECK(json["text"].get<std::string>() + "\n" == first.out);
    CHECK(json["tokens"] == 20);
    CHECK(json["finish"] == "tokens_max");
    CHECK(json["prompt_tokens"].get<int>() > 3);
    CHECK(json["total_ms"].get<double>() >= json["first_token_ms"].get<double>());
}

TEST_CASE("generate with a temperature follows its seed", "[cli]") {
    const TinyFile file;
    const auto text = [&](const std::string& seed) {
        const Outcome outcome = run({"generate",
                                     "--model",
                                     file.path(),
                                     "--backend",
                                     "reference",
                                     "--prompt",
                                     "x",
                                     "-n",
                                     "20",
                                     "--temperature",
                                     "30",
                                     "--seed",
                                     seed});
        CHECK(outcome.code == kExitDone);
        return outcome.out;
    };
    const std::string first = text("1");
    CHECK(text("1") == first);
    CHECK(text("2") != first);
}

TEST_CASE("generate holds an answer to rules, or to a schema", "[cli]") {
    const TinyFile file;
    const test::TemporaryFolder folder;
    const auto ask = [&](const std::string& option, const std::string& rules) {
        const std::string path = folder.file("rules");
        std::ofstream(path) << rules;
        return run({"generate",
                    "--model",
                    file.path(),
                    "--backend",
                    "reference",
                    "--prompt",
                    "int main(",
                    "-n",
                    "400",
                    option,
                    path});
    };
    const Outcome ruled = ask("--grammar", "root ::= \"int \" [a-c]{3,5} \";\"");
    INFO(ruled.err);
    CHECK(std::regex_match(ruled.out, std::regex("int [a-c]{3,5};\n")));
    const Outcome json = ask("--json-schema",
                             R"({"type": "array", "items": {"enum": [7, "x"]}, "minItems": 3,
                                 "maxItems": 3})");
    INFO(json.err);
    CHECK(nlohmann::json::parse(json.out).size() == 3);
    const Outcome wrong = ask("--grammar", "root ::= (");
    CHECK(wrong.code == kExitMisused);
    CHECK_THAT(wrong.err, Catch::Contains("line 1, column 11"));
}

TEST_CASE("bench times a keystroke, as deep as the context has room for", "[cli]") {
    const TinyFile file;
    const std::vector<std::string> words = {"bench",
                                            "--model",
                                            file.path(),
                                            "--device",
                                            "cpu",
                                            "-p",
                                            "0",
                                            "-n",
                                            "0",
                                            "-r",
                                            "2",
                                            "--keystroke",
                                            "--json"};
    const Outcome outcome = run(words);
    INFO(outcome.err);
    REQUIRE(outcome.code == kExitDone);
    const auto json = nlohmann::json::parse(outcome.out)["keystroke"];
    CHECK(json["depth"] == 2048 - 26);
    CHECK(json["prompt_tokens"] == 3);
    CHECK(json["answer_tokens"] == 24);
    CHECK(json["ms"]["min"].get<double>() > 0.0);
    CHECK(json["ms"]["max"].get<double>() >= json["ms"]["median"].get<double>());
    const TinyFile deep(test::TinyModelOptions{.context_length = 4096});
    auto of_deep = words;
    of_deep[2] = deep.path();
    CHECK(nlohmann::json::parse(run(of_deep).out)["keystroke"]["depth"] == 3000);
}

TEST_CASE("tokenize prints tokens from a file or from standard input", "[cli]") {
    const TinyFile file;
    const Outcome lines = run({"tokenize", "--model", file.path()}, "return \xC3\xA4");
    INFO(lines.err);
    REQUIRE(lines.code == kExitDone);
    CHECK_THAT(lines.out, Catch::Contains("\"return\"\n") && Catch::Contains("\t\" \"\n"));
    std::ofstream(file.beside("text")) << "return";
    const Outcome ids = run({"tokenize", "--model", file.path(), "--ids", file.beside("text")});
    REQUIRE(ids.code == kExitDone);
    CHECK(lines.out.rfind(ids.out.substr(0, ids.out.size() - 1) + "\t", 0) == 0);
}

TEST_CASE("a special token's name is ordinary text unless it is asked for", "[cli]") {
    const TinyFile file;
    const std::string name = "<|fim_prefix|>";
    CHECK_THAT(run({"tokenize", "--model", file.path()}, name).out,
               !Catch::Contains("\"" + name + "\""));
    CHECK_THAT(run({"tokenize", "--model", file.path(), "--special"}, name).out,
               Catch::Contains("\"" + name + "\""));
}

TEST_CASE("bench reports rates and bytes", "[cli]") {
    const TinyFile file;
    const std::vector<std::string> words = {"bench",
                                            "--model",
                                            file.path(),
                                            "--backend",
                                            "reference",
                                            "-p",
                                            "20",
                                            "-n",
                                            "3",
                                            "-d",
                                            "5",
                                            "-r",
                                            "2"};
    const Outcome text = run(words);
    INFO(text.err);
    REQUIRE(text.code == kExitDone);
    CHECK_THAT(text.out,
               Catch::Contains("20 tokens at depth 5") && Catch::Contains("3 tokens at depth 5") &&
                   Catch::Contains("bytes read per token"));
    auto json_words = words;
    json_words.emplace_back("--json");
    const auto json = nlohmann::json::parse(run(json_words).out);
    const auto& rate = json["decode"][0]["tokens_per_s"];
    CHECK(rate["min"].get<double>() > 0.0);
    CHECK(rate["min"].get<double>() <= rate["median"].get<double>());
    CHECK(rate["median"].get<double>() <= rate["max"].get<double>());
    const auto model = test::tiny_model();
    CHECK(json["bytes_per_token"].get<std::int64_t>() ==
          compute::weight_bytes_per_token(model->plan(1), model->weights()));
    CHECK(json["prefill"]["tokens"] == 20);
    CHECK(json["prefill"]["first_token_ms"].get<double>() > 0.0);
    CHECK_FALSE(json.contains("throughput"));
}

TEST_CASE("bench says what a model's own block for multi-token prediction gives", "[cli]") {
    const TinyFile file({.layer_count = 4, .has_prediction_block = true});
    std::ofstream(file.beside("code.txt")) << std::string(200, 'a') + std::string(200, 'b');
    std::vector<std::string> words = {"bench",
                                      "--model",
                                      file.path(),
                                      "--backend",
                                      "cpu",
                                      "-p",
                                      "20",
                                      "-n",
                                      "30",
                                      "-r",
                                      "2",
                                      "--drafts",
                                      file.beside("code.txt")};
    const Outcome text = run(words);
    INFO(text.err);
    REQUIRE(text.code == kExitDone);
    CHECK_THAT(text.out, Catch::Contains("2 answers of 30 tokens behind 20"));
    words.emplace_back("--json");
    const auto drafts = nlohmann::json::parse(run(words).out)["drafts"];
    CHECK(drafts["guessed"].get<int>() > 0);
    CHECK(drafts["guessed"].get<int>() >= drafts["right"].get<int>());
    CHECK(drafts["tokens_per_s"]["median"].get<double>() > 0.0);
    words.back() = "--prediction-block";
    words.emplace_back("none");
    CHECK(run(words).code == kExitFailed);
}

TEST_CASE("a file that holds no block for the model is said and left aside", "[cli]") {
    const TinyFile file;
    std::ofstream(file.beside("mtp.gguf")) << "no model at all, but long enough to be one";
    const std::vector<std::string> words = {
        "generate", "--model", file.path(), "--backend", "cpu", "--prompt", "int", "-n", "5"};
    const Outcome beside = run(words);
    CHECK(beside.code == kExitDone);
    CHECK_THAT(beside.err, Catch::Contains("no drafts by a block") && Catch::Contains("mtp.gguf"));
    auto named = words;
    named.insert(named.end(), {"--prediction-block", file.beside("absent.gguf")});
    const Outcome absent = run(named);
    CHECK(absent.code == kExitDone);
    CHECK(absent.out == beside.out);
    CHECK_THAT(absent.err, Catch::Contains("absent.gguf") && !Catch::Contains("mtp.gguf"));
    named.back() = "none";
    CHECK(run(named).err.empty());
    const std::string settings = file.beside("settings.json");
    std::ofstream(settings) << R"({"prediction_block": "none"})";
    CHECK(run(words, "", settings).err.empty());
}

TEST_CASE("bench makes a synthetic model and writes JSON beside its table", "[cli]") {
    const test::TemporaryFolder folder;
    const std::string path = folder.file("bench.json");
    const Outcome outcome =
        run({"bench", "--synthetic", "tiny:Q4_K_M", "--device", "cpu",       "--threads", "2",
             "-p",    "40",          "-n",          "2",        "--context", "0,300",     "-r",
             "1",     "--sequences", "1,3",         "--step",   "16",        "--json",    path});
    INFO(outcome.err);
    REQUIRE(outcome.code == kExitDone);
    CHECK_THAT(outcome.out,
               Catch::Contains("synthetic tiny:Q4_K_M") &&
                   Catch::Contains("40 tokens at depth 0") &&
                   Catch::Contains("2 tokens at depth 300") &&
                   Catch::Contains("1 sequence at depth 512") &&
                   Catch::Contains("3 sequences at depth 512"));
    std::ifstream file(path);
    const auto json = nlohmann::json::parse(file);
    CHECK(json["decode"].size() == 2);
    CHECK(json["throughput"][1]["sequences"] == 3);
    CHECK(json["throughput"][1]["tokens_per_s"]["median"].get<double>() > 0.0);
    CHECK(json["read_bytes_per_s"].get<double>() > 0.0);
    CHECK(json["decode"][1]["share"].get<double>() > 0.0);
    // Three layers for each token before, of 256 + 16 halves, or rounded: 256 + 32 bytes, two
    // scales and two sums.
    const double cached =
        json["decode"][1]["bytes_per_token"].get<double>() - json["bytes_per_token"].get<double>();
    CHECK((cached == 300 * 3 * 272 * 2 || cached == 300 * 3 * (288 + 16)));
}

TEST_CASE("models info counts what a model takes on a device", "[cli]") {
    const Outcome whole = run({"models", "info", "--synthetic", "tiny:Q8_0", "--memory", "1"});
    INFO(whole.err);
    REQUIRE(whole.code == kExitDone);
    CHECK_THAT(whole.out,
               Catch::Contains("cuda with 1073741824 bytes (1.00 GiB) free") &&
                   Catch::Contains("context         4096 tokens") && Catch::Contains("as a whole"));
    // 3 layers of 256 + 16 columns: 8.5 blocks, which take the room of 9.
    CHECK_THAT(whole.out,
               Catch::Contains("816 elements per token: 1632 bytes in F16, 918 in Q8_0"));
    const std::vector<std::string> words = {
        "models", "info", "--synthetic", "tiny:Q8_0", "--memory", "1", "--device", "cpu"};
    CHECK_THAT(run(words).out, Catch::Contains("cache         53477376 bytes"));
    auto quantised = words;
    quantised.insert(quantised.end(), {"--kv-cache", "q8_0"});
    CHECK_THAT(run(quantised).out, Catch::Contains("cache         30081024 bytes"));
    // Room for 32,768 tokens, as the daemon has it. Four layers of 96 + 16 halves: three, and that
    // of the block that guesses.
    CHECK_THAT(run({"models", "info", "--synthetic", "tiny-mtp:Q8_0", "--memory", "1"}).out,
               Catch::Contains("cache         29360128 bytes"));
    const Outcome apart = run({"models",
                               "info",
                               "--synthetic",
                               "deepseek-v2-lite:Q4_K_M",
                               "--memory",
                               "8",
                               "--device",
                               "cuda"});
    CHECK_THAT(apart.out, Catch::Contains("routed experts on the host"));
    // More of them than most machines have memory for.
    const std::string many = "deepseek-v3-slice:Q8_0";
    const Outcome large = run({"models", "info", "--synthetic", many, "--memory", "12"});
    std::smatch needed;
    REQUIRE(std::regex_search(large.out, needed, std::regex("on the host +([0-9]+) bytes")));
    const bool has_room = std::stoll(needed[1]) <= compute::host_memory()->total_bytes;
    CHECK_THAT(large.out,
               Catch::Contains(has_room ? "routed experts on the host"
                                        : " of this machine's memory are missing for routed"));
    const Outcome none =
        run({"models", "info", "--synthetic", "deepseek-v2-lite:Q4_K_M", "--memory", "0.5"});
    CHECK(none.code == kExitDone);
    CHECK_THAT(none.out, Catch::Contains("are missing"));
    const Outcome host = run({"models", "info", "--synthetic", "tiny:Q8_0", "--device", "cpu"});
    CHECK_THAT(host.out, Catch::Contains("cpu with ") && Catch::Contains("in all"));
    const Outcome unknown =
        run({"models", "info", "--synthetic", "tiny:Q8_0", "--device", "reference"});
    CHECK(unknown.code == kExitMisused);
    CHECK_THAT(unknown.err, Catch::Contains("--memory"));
}

TEST_CASE("bench, logits and info need no known pre-tokenizer; text does", "[cli]") {
    const TinyFile file({.pre_tokenizer = "martian"});
    CHECK(run({"bench", "--model", file.path(), "-p", "2", "-n", "1", "-r", "1"}).code ==
          kExitDone);
    CHECK(run({"models", "info", file.path()}).code == kExitDone);
    CHECK(
        run({"logits", "--model", file.path(), "--tokens", "1", "--out", file.beside("l")}).code ==
        kExitDone);
    const Outcome text = run({"tokenize", "--model", file.path()}, "x");
    CHECK(text.code == kExitFailed);
    CHECK_THAT(text.err, Catch::Contains("martian"));
}

TEST_CASE("models info says what a file holds", "[cli]") {
    const TinyFile file;
    const Outcome outcome = run({"models", "info", file.path()});
    REQUIRE(outcome.code == kExitDone);
    CHECK_THAT(outcome.out,
               Catch::Contains("deepseek2") && Catch::Contains("2 of 8 per token") &&
                   Catch::Contains("Q8_0") && Catch::Contains("general.name = tiny-deepseek2") &&
                   Catch::Contains("tokenizer.ggml.tokens = array of 304"));
}

}  // namespace
}  // namespace hearth::cli
