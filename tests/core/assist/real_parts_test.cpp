// The assistant over the real engine, the real tokenizer and a tiny model on the reference backend:
// what a keystroke costs.
#include <algorithm>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "core/assist/assist.h"
#include "core/assist/infill_prompt.h"
#include "kernels/reference/reference_backend.h"
#include "tests/core/assist/fakes.h"
#include "tests/support/tiny_model.h"

namespace hearth::assist {
namespace {

std::string numbered_lines(int count, const std::string& name) {
    std::string text;
    for (int i = 0; i < count; ++i) {
        const std::string number = std::to_string(i);
        text += "int " + name + number + " = compute(" + number + ");\n";
    }
    return text;
}

struct RealRoom {
    explicit RealRoom(const AssistLimits& limits) {
        engine =
            std::move(engine::Engine::make(model, *backend, engine::EngineLimits(), clock).value());
        plugins.on_complete = [](const auto& context, const auto& document) {
            return context->infill(document, {.tokens_max = 4, .lines_max = 1}, *context);
        };
        assistant = Assistant::make({.engine = *engine,
                                     .tokenizer = tokenizer,
                                     .plugins = plugins,
                                     .log = log,
                                     .clock = clock},
                                    limits);
    }

    CompletionAnswer complete(const std::string& before, const std::string& after) {
        auto document = std::make_shared<Document>();
        document->uri = "file:///demo/a.c";
        document->path = "a.c";
        document->text = before + after;
        CompletionQuery query;
        query.document = document;
        query.cursor_byte = before.size();
        query.trigger = Trigger::invoked;
        std::promise<Result<CompletionAnswer>> promise;
        assistant->complete(
            query, [&](Result<CompletionAnswer> answer) { promise.set_value(std::move(answer)); });
        return promise.get_future().get().value();
    }

    SteadyClock clock;
    Log log{LogLevel::error};
    std::shared_ptr<const model::Model> model = test::tiny_model();
    std::shared_ptr<const tokenizer::Tokenizer> tokenizer =
        tokenizer::Tokenizer::from_gguf(model->file()).value();
    std::unique_ptr<compute::Backend> backend = reference::make_reference_backend();
    std::unique_ptr<engine::Engine> engine;
    test::FakePluginHost plugins;
    std::unique_ptr<Assistant> assistant;
};

TEST_CASE("one more character re-uses all but a few tokens", "[assist][latency]") {
    AssistLimits limits;
    limits.prompt_tokens_max = 400;
    limits.completion_budget = std::chrono::minutes(5);
    RealRoom room(limits);
    const std::string before = numbered_lines(60, "left") + "    ";
    const std::string after = "\n" + numbered_lines(40, "right");
    std::string typed;
    int moves = 0;
    for (const char key : std::string("return int = char0(); // and more")) {
        const CompletionAnswer answer = room.complete(before + typed, after);
        INFO("after \"" << typed << "\": " << answer.usage.cached_tokens << " of "
                        << answer.usage.prompt_tokens);
        CHECK(answer.usage.prompt_tokens > 200);
        CHECK(answer.usage.prompt_tokens <= 400);
        const std::int32_t computed = answer.usage.prompt_tokens - answer.usage.cached_tokens;
        if (typed.empty()) {
            CHECK(computed > 200);
        } else if (computed > 6) {
            ++moves;  // the window moved
        }
        typed += key;
    }
    CHECK(moves <= 1);
}

TEST_CASE("the next line re-uses all but a few tokens", "[assist][latency]") {
    AssistLimits limits;
    limits.prompt_tokens_max = 400;
    limits.completion_budget = std::chrono::minutes(5);
    RealRoom room(limits);
    const std::string after = "\n}\n";
    room.complete("int f() {\n    int a = 1;", after);
    const CompletionAnswer answer = room.complete("int f() {\n    int a = 1;\n    ", after);
    CHECK(answer.usage.prompt_tokens - answer.usage.cached_tokens <= 6);
}

TEST_CASE("the shipped tokenizer changes only the end of the prompt while one types",
          "[assist][latency]") {
    const std::string path = HEARTH_SOURCE_DIR "/models/default.gguf";
    if (!std::filesystem::exists(path)) {
        WARN("no " << path << ": nothing to check");
        return;
    }
    const auto file = formats::GgufFile::load(path).value();
    const auto tokenizer = tokenizer::Tokenizer::from_gguf(*file).value();
    const PromptFormat format(*tokenizer);
    REQUIRE(format.can_infill());
    CHECK(format.is_own());
    const std::string head = numbered_lines(100, "left");
    const std::string after = "\n" + numbered_lines(100, "right");
    std::string typed;
    Tokens last;
    int moves = 0;
    for (const char key :
         std::string("if (value->answer() != nullptr) {\n        return \"über\";\n    }\n")) {
        const std::string before = head + typed;
        Tokens prompt = make_infill_prompt(*tokenizer,
                                           format,
                                           {.repository = "demo",
                                            .path = "a.c",
                                            .before = before,
                                            .after = after,
                                            .context = {}},
                                           448)
                            .value()
                            .tokens;
        const auto differs =
            std::mismatch(last.begin(), last.end(), prompt.begin(), prompt.end()).first;
        if (last.end() - differs > 6) ++moves;
        last = std::move(prompt);
        typed += key;
    }
    CHECK(moves <= 1);
}

}  // namespace
}  // namespace hearth::assist
