// Completions: plugin, prompt, engine and gate together, over fakes.
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/core/assist/room.h"

namespace hearth::assist {
namespace {

/// A cursor in the midst of a text that is longer than any prompt.
CompletionQuery query_in_long_text(const std::string& line) {
    std::string text;
    while (text.size() < static_cast<std::size_t>(3 * AssistLimits().prompt_tokens_max)) {
        text += line;
    }
    return query_at("void g() {\n" + text + "int a = f(^);\n" + text);
}

TEST_CASE("a long prompt has a short one for a cold cache, with the same end",
          "[assist][assistant]") {
    Room room(says("b"));
    const std::string line = "    call(with, some, arguments);\n";
    CHECK(room.complete(query_in_long_text(line)).has_value());
    CHECK(room.complete(query_at("int a = f(^);\n")).has_value());
    const std::vector<engine::Request> requests = room.engine.requests();
    CHECK(std::ssize(requests[0].prompt) > 4 * AssistLimits().short_prompt_tokens_max);
    CHECK(requests[0].stable_tokens == std::ssize(requests[0].prompt));
    CHECK(requests[0].cold_budget == AssistLimits().cold_prompt_budget);
    const std::vector<std::int32_t>& shorter = requests[0].short_prompt;
    CHECK(std::ssize(shorter) <= AssistLimits().short_prompt_tokens_max);
    CHECK(room.tokenizer->show(shorter).find(line + "int a = f([<|fim_middle|>]") !=
          std::string::npos);
    CHECK(requests[1].short_prompt.empty());
}

TEST_CASE("without a budget for a cold prompt there is no short one", "[assist][assistant]") {
    AssistLimits limits = quick_limits();
    limits.cold_prompt_budget = {};
    Room room(says("b"), limits);
    CHECK(room.complete(query_in_long_text("    call(with, some, arguments);\n")).has_value());
    CHECK(room.engine.requests()[0].short_prompt.empty());
}

TEST_CASE("a completion goes through plugin, prompt, engine and gate", "[assist][assistant]") {
    Room room(says("b, c);\n"));
    const auto answer = room.complete(query_at("int a = f(^);\nint d;\n"));
    CHECK(texts(answer) == std::vector<std::string>{"b, c"});
    CHECK(room.prompt(0) ==
          "[<|file_sep|>]src/a.c\n[<|fim_suffix|>]);\nint d;\n[<|fim_prefix|>]int a = "
          "f([<|fim_middle|>]");
    CHECK(answer->usage.prompt_tokens == static_cast<int>(room.engine.requests()[0].prompt.size()));
    CHECK(answer->usage.generated_tokens == 5);
    CHECK(answer->usage.first_token_ms >= 1.0);
    CHECK(answer->usage.total_ms >= 2.0);
    CHECK(room.engine.requests()[0].priority == engine::Priority::keystroke);
}

TEST_CASE("nothing sensible is an empty answer", "[assist][assistant]") {
    Room room(says("\n\n"));
    CHECK(texts(room.complete(query_at("a^\n"))).empty());
    room.plugins.on_complete = nullptr;
    CHECK(texts(room.complete(query_at("a^\n"))).empty());
}

TEST_CASE("line ends are those of the document", "[assist][assistant]") {
    Room room(says("a();\n  b();\n"));
    CHECK(texts(room.complete(query_at("f {\r\n  ^\r\n"))) ==
          std::vector<std::string>{"a();\r\n  b();"});
    CHECK(room.prompt(0).find('\r') == std::string::npos);
}

TEST_CASE("a special token ends the answer and is never shown", "[assist][assistant]") {
    Room room([](const engine::Request&) {
        return FakeAnswer{.text = "a = 1;", .tokens_after = {258, 'x'}};
    });
    CHECK(texts(room.complete(query_at("^\n"))) == std::vector<std::string>{"a = 1;"});
}

TEST_CASE("a broken character at the end is not shown", "[assist][assistant]") {
    Room room(says("a = b; \xC3"));
    auto query = query_at("^\n");
    const auto shown = texts(room.complete(query));
    REQUIRE(shown.size() == 1);
    CHECK(shown[0].find('\xC3') == std::string::npos);
}

TEST_CASE("suggestions extend what the editor's popup would insert", "[assist][assistant]") {
    Room room(says("(a);\n"));
    auto query = query_at("x = pri^\n");
    query.selected_text = "printf";
    query.selected_begin_byte = 4;
    CHECK(texts(room.complete(query)) == std::vector<std::string>{"printf(a);"});
    CHECK(room.prompt(0).find("[<|fim_prefix|>]x = printf[<|fim_middle|>]") != std::string::npos);
    query.selected_begin_byte = 40;
    CHECK(room.complete(query).error().code == ErrorCode::invalid_argument);
}

TEST_CASE("candidates differ by their seed; equal ones come once, the likeliest first",
          "[assist][assistant]") {
    Room room([](const engine::Request& request) {
        const std::uint64_t seed = request.sampling.seed;
        return FakeAnswer{.text = seed == 2 ? "two" : "other",
                          .probability = seed == 2 ? 0.95F : 0.7F};
    });
    room.plugins.on_complete = [](const Context& context, const DocumentView& document) {
        return context->infill(document, {.candidates_max = 100, .temperature = 0.8F}, *context);
    };
    const auto answer = room.complete(query_at("^\n"));
    CHECK(texts(answer) == std::vector<std::string>{"two", "other"});
    CHECK(room.engine.requests().size() == 4);
    CHECK(answer->usage.generated_tokens == 3 + 5 * 3);
}

TEST_CASE("without temperature one candidate is enough", "[assist][assistant]") {
    Room room(says("a"));
    room.plugins.on_complete = [](const Context& context, const DocumentView& document) {
        return context->infill(document, {.tokens_max = 9999, .candidates_max = 3}, *context);
    };
    CHECK(texts(room.complete(query_at("^\n"))).size() == 1);
    CHECK(room.engine.requests().size() == 1);
    CHECK(room.engine.requests()[0].tokens_max == AssistLimits().completion_tokens_max);
}

TEST_CASE("an unlikely suggestion is shown only to those who asked", "[assist][assistant]") {
    Room room(
        [](const engine::Request&) { return FakeAnswer{.text = "a = 1;", .probability = 0.75F}; });
    auto query = query_at("^\n");
    CHECK(texts(room.complete(query)).size() == 1);
    query.trigger = Trigger::automatic;
    CHECK(texts(room.complete(query)).empty());
}

/// Says "is_old();" with its first token just likelier than that of "was_new();".
FakeAnswer say_with_rival(const engine::Request& request, const std::string& more) {
    if (request.prompt.back() == 'w') return {.text = "as_new();" + more, .probability = 0.99F};
    if (request.prompt.back() == '\n') return {.text = more.substr(1), .probability = 0.99F};
    FakeAnswer answer{.text = "is_old();" + more, .probability = 0.9F};
    answer.rivals[0] = {'w', 0.8F};
    return answer;
}

TEST_CASE("a likelier line with a less likely beginning is found", "[assist][search]") {
    Room room([](const engine::Request& request) { return say_with_rival(request, ""); });
    const auto answer = room.complete(query_at("^\n"));
    CHECK(texts(answer) == std::vector<std::string>{"was_new();"});
    REQUIRE(room.engine.requests().size() == 2);
    const auto first = room.engine.requests()[0].prompt.size();
    CHECK(room.engine.requests()[1].prompt.size() == first + 1);
    CHECK(answer->usage.prompt_tokens == static_cast<std::int32_t>(first));
}

TEST_CASE("where the short prompt was taken, it is gone on with", "[assist][search]") {
    Room room([](const engine::Request& request) {
        FakeAnswer answer = say_with_rival(request, "");
        answer.is_short = !request.short_prompt.empty();
        return answer;
    });
    const std::string before(6000, 'x');
    CHECK(texts(room.complete(query_at(before + "\n^\n"))) ==
          std::vector<std::string>{"was_new();"});
    REQUIRE(room.engine.requests().size() >= 2);
    const auto requests = room.engine.requests();
    REQUIRE_FALSE(requests[0].short_prompt.empty());
    CHECK(requests[1].prompt.size() == requests[0].short_prompt.size() + 1);
}

TEST_CASE("more lines follow the line that was found", "[assist][search]") {
    Room room(
        [](const engine::Request& request) { return say_with_rival(request, "\nthen();\n"); });
    CHECK(texts(room.complete(query_at("^\n"))) == std::vector<std::string>{"was_new();\nthen();"});
    CHECK(room.engine.requests().size() == 3);
}

TEST_CASE("other beginnings are looked at only where there is time for them", "[assist][search]") {
    AssistLimits limits = quick_limits();
    limits.line_search_budget = Duration::zero();
    Room room([](const engine::Request& request) { return say_with_rival(request, ""); }, limits);
    CHECK(texts(room.complete(query_at("^\n"))) == std::vector<std::string>{"is_old();"});
    CHECK(room.engine.requests().size() == 1);
}

/// "is_old();" is likelier by itself; `next` is likely behind "was_new();" alone.
FakeAnswer say_and_judge(const engine::Request& request) {
    FakeAnswer answer = say_with_rival(request, "");
    answer.rivals[0] = {'w', 0.2F};
    answer.judge = [](std::span<const tokenizer::TokenId> before, tokenizer::TokenId) {
        return FakeTokenizer::own()->show(before).find("was_new") == std::string::npos ? -2.0
                                                                                       : -0.1;
    };
    return answer;
}

TEST_CASE("lines are judged by what follows them, where the model goes on as text does",
          "[assist][search]") {
    const auto goes_on = FakeTokenizer::own(tokenizer::InfillMark::none);
    const auto query = query_at("^\r\nthen();\r\n");
    Room room(say_and_judge, quick_limits(), goes_on);
    CHECK(texts(room.complete(query)) == std::vector<std::string>{"was_new();"});
    std::vector<std::string> judged;
    for (const engine::Request& request : room.engine.requests()) {
        if (request.asked.empty()) continue;
        CHECK(request.priority == engine::Priority::keystroke);
        judged.push_back(goes_on->show(request.prompt));
    }
    REQUIRE(judged.size() == 2);
    for (const std::string& prompt : judged) {
        CHECK(prompt.ends_with("();\nthen();"));  // the last token is only asked about
    }
    const auto asked_count = [&] {
        return std::ranges::count_if(room.engine.requests(), [](const engine::Request& request) {
            return !request.asked.empty();
        });
    };
    CHECK(texts(room.complete(query)) == std::vector<std::string>{"was_new();"});
    CHECK(asked_count() == 2);  // it is known what follows these lines

    AssistLimits limits = quick_limits();
    limits.line_judge_budget = Duration::zero();
    Room hurried(say_and_judge, limits, goes_on);
    CHECK(texts(hurried.complete(query)) == std::vector<std::string>{"is_old();"});
    Room marked(say_and_judge);
    CHECK(texts(marked.complete(query)) == std::vector<std::string>{"is_old();"});
    Room nothing_below(say_and_judge, quick_limits(), goes_on);
    CHECK(texts(nothing_below.complete(query_at("^\n"))) == std::vector<std::string>{"is_old();"});
}

const std::string kBlock =
    "    if (value == nullptr) {\n        report(error_missing);\n        return false;\n    }\n";
const std::string kBegunBlock =
    "    if (value == nullptr) {\n        report(^\n        return false;\n    }\n";

TEST_CASE("a certain copy is the answer before the model is asked", "[assist][copies]") {
    Room room(says("other);\n"));
    auto query = query_at(kBlock + kBlock + kBlock + kBegunBlock);
    query.trigger = Trigger::automatic;
    CHECK(texts(room.complete(query)) == std::vector<std::string>{"error_missing);"});
    CHECK(room.engine.requests().empty());
    AssistLimits limits = quick_limits();
    limits.has_copies = false;
    Room other(says("other);\n"), limits);
    CHECK(texts(other.complete(query)) == std::vector<std::string>{"other);"});
}

TEST_CASE("a copy stands in for a model that is not sure", "[assist][copies]") {
    Room room(
        [](const engine::Request&) { return FakeAnswer{.text = "other);", .probability = 0.1F}; });
    const auto query = query_at(kBlock + kBegunBlock);
    CHECK(texts(room.complete(query)) == std::vector<std::string>{"error_missing);"});
    CHECK(room.engine.requests().size() == 1);
}

TEST_CASE("open documents are copied from, in the line ends of this one", "[assist][copies]") {
    Room room(
        [](const engine::Request&) { return FakeAnswer{.text = "other);", .probability = 0.1F}; });
    auto query = query_at("int f() {\r\n        report(^\r\n}\r\n");
    CHECK(texts(room.complete(query)).empty());
    query.open_documents = {make_document("int g() {\n        report(gone);\n}\n", "b.c")};
    CHECK(texts(room.complete(query)) == std::vector<std::string>{"gone);"});
}

TEST_CASE("a suggestion with a fault is shown only where nothing is checked", "[assist][checks]") {
    const auto query = query_at("return ^\n");
    Room room(says("the list of the list of"));
    CHECK(texts(room.complete(query)).empty());
    AssistLimits limits = quick_limits();
    limits.invoked_probability_min = 0.0;
    Room unchecked(says("the list of the list of"), limits);
    CHECK(texts(unchecked.complete(query)).size() == 1);
}

TEST_CASE("pieces of context providers are shown to the model", "[assist][context]") {
    Room room(says("a"));
    std::vector<std::string> others;
    CallStatus infill_status = CallStatus::ok;
    room.plugins.providers = {
        [](const Context& context, const DocumentView&) {
            context->emit(0, "z.h\n");
            context->emit(0, "int z;\n");
            context->emit(1, "file:///home/me/demo/src/a.c\nthe document itself\n");
            context->emit(2, "empty.h\n\n");
            return CallStatus::ok;
        },
        [&](const Context& context, const DocumentView& document) {
            for (const DocumentView& other : context->documents()) {
                others.emplace_back(other.text);
            }
            infill_status = context->infill(document, {}, *context);
            context->emit(0, "file:///home/me/demo/b.h\nint b;\n");
            return CallStatus::failed;
        },
    };
    auto query = query_at("^\n");
    query.open_documents = {make_document("other", "b.h")};
    CHECK(room.complete(query));
    CHECK(room.prompt(0).starts_with(
        "[<|repo_name|>]demo[<|file_sep|>]b.h\nint b;\n[<|file_sep|>]z.h\nint z;\n"
        "[<|file_sep|>]src/a.c\n"));
    CHECK(others == std::vector<std::string>{"other"});
    CHECK(infill_status == CallStatus::unsupported);
}

TEST_CASE("a late context provider is not waited for and is told to stop", "[assist][context]") {
    AssistLimits limits;
    limits.context_budget = std::chrono::milliseconds(5);
    Room room(says("a"), limits);
    std::promise<bool> late;
    room.plugins.providers = {
        [&](const Context& context, const DocumentView&) {
            while (!context->is_cancelled()) {
                std::this_thread::yield();
            }
            late.set_value(context->emit(0, "late.h\nint late;\n"));
            return CallStatus::cancelled;
        },
    };
    CHECK(texts(room.complete(query_at("^\n"))) == std::vector<std::string>{"a"});
    CHECK_FALSE(late.get_future().get());
    CHECK(room.prompt(0).find("late.h") == std::string::npos);
}

TEST_CASE("a context provider cannot flood the prompt", "[assist][context]") {
    AssistLimits limits = quick_limits();
    limits.context_bytes_max = 100;
    Room room(says("a"), limits);
    std::atomic<int> refused{0};
    room.plugins.providers = {[&](const Context& context, const DocumentView&) {
        for (std::uint32_t item = 0; item < 1000; ++item) {
            if (!context->emit(item, "f.h\n" + std::string(40, 'x') + "\n")) ++refused;
        }
        if (!context->emit(0xFFFFFFFFU, "f.h\ny\n")) ++refused;
        return CallStatus::ok;
    }};
    CHECK(room.complete(query_at("^\n")));
    CHECK(refused.load() == 999);
}

TEST_CASE("a cancelled query ends its generation", "[assist][cancel]") {
    Room room([](const engine::Request&) { return FakeAnswer{.text = "a", .holds = true}; });
    CancelSource cancel;
    auto query = query_at("^\n");
    query.cancel = cancel.token();
    auto future = room.start(query);
    while (room.engine.requests().empty()) {
        std::this_thread::yield();
    }
    cancel.cancel();
    CHECK(future.get().error().code == ErrorCode::cancelled);
}

TEST_CASE("a query that was cancelled while it waited asks nobody", "[assist][cancel]") {
    Room room(says("a"));
    CancelSource cancel;
    cancel.cancel();
    auto query = query_at("^\n");
    query.cancel = cancel.token();
    CHECK(room.complete(query).error().code == ErrorCode::cancelled);
    CHECK(room.engine.requests().empty());
}

TEST_CASE("at the deadline what is sound is the answer", "[assist][deadline]") {
    Room room([](const engine::Request&) {
        return FakeAnswer{.text = "a = 1;\nb = 2;\nc = th",
                          .reason = engine::FinishReason::deadline};
    });
    auto query = query_at("^\n");
    query.deadline = room.clock.now() + std::chrono::minutes(5);
    CHECK(texts(room.complete(query)) == std::vector<std::string>{"a = 1;\nb = 2;"});
    CHECK(room.engine.requests()[0].deadline == query.deadline);
}

TEST_CASE("an engine in a long step is not waited for beyond the deadline", "[assist][deadline]") {
    Room room([](const engine::Request&) { return FakeAnswer{.text = "", .holds = true}; });
    auto query = query_at("^\n");
    query.deadline = room.clock.now() + std::chrono::milliseconds(1);
    CHECK(room.complete(query).error().code == ErrorCode::timed_out);
    CHECK(room.engine.is_cancelled(1));
}

TEST_CASE("a deadline with nothing to show is told", "[assist][deadline]") {
    Room room([](const engine::Request&) { return FakeAnswer{.text = "", .holds = true}; });
    auto query = query_at("^\n");
    query.deadline = room.clock.now();
    CHECK(room.complete(query).error().code == ErrorCode::timed_out);
}

TEST_CASE("the end of the assistant cancels and answers what runs", "[assist][cancel]") {
    Room room([](const engine::Request&) { return FakeAnswer{.text = "a", .holds = true}; });
    std::vector<std::future<Result<CompletionAnswer>>> futures;
    for (int i = 0; i < 12; ++i) {  // more than there are threads: some still wait
        futures.push_back(room.start(query_at("^\n")));
    }
    while (room.engine.requests().size() < 8) {
        std::this_thread::yield();
    }
    room.assistant.reset();
    for (auto& future : futures) {
        CHECK(future.get().error().code == ErrorCode::cancelled);
    }
}

TEST_CASE("a full pool and a full engine refuse at once", "[assist][full]") {
    Room room([](const engine::Request&) { return FakeAnswer{.text = "", .holds = true}; });
    std::vector<std::future<Result<CompletionAnswer>>> futures;
    std::size_t refused = 0;
    for (int i = 0; i < 60; ++i) {
        futures.push_back(room.start(query_at("^\n")));
        if (futures.back().wait_for(std::chrono::seconds(0)) == std::future_status::ready) {
            CHECK(futures.back().get().error().code == ErrorCode::unavailable);
            futures.pop_back();
            ++refused;
        }
    }
    CHECK(refused >= 60 - 8 - 32);
    room.assistant.reset();

    Room full(says("a"));
    full.engine.set_full(true);
    CHECK(full.complete(query_at("^\n")).error().code == ErrorCode::unavailable);
}

TEST_CASE("an engine that fails is told with its own words", "[assist][assistant]") {
    Room room([](const engine::Request&) {
        return FakeAnswer{
            .text = "", .error = Error{ErrorCode::out_of_memory, "no memory for a step", "engine"}};
    });
    const auto answer = room.complete(query_at("^\n"));
    REQUIRE_FALSE(answer.has_value());
    CHECK(answer.error().code == ErrorCode::out_of_memory);
}

TEST_CASE("a model that cannot fill in says so", "[assist][assistant]") {
    Room room(says("a"),
              quick_limits(),
              std::make_shared<FakeTokenizer>(std::vector<std::string>{"<|endoftext|>"}));
    CHECK(room.complete(query_at("^\n")).error().code == ErrorCode::unsupported);
}

TEST_CASE("places outside the document and documents that are too large", "[assist][assistant]") {
    AssistLimits limits = quick_limits();
    limits.document_bytes_max = 100;
    Room room(says("a"), limits);
    auto query = query_at("^\n");
    query.cursor_byte = 3;
    CHECK(room.complete(query).error().code == ErrorCode::invalid_argument);
    CHECK(texts(room.complete(query_at(std::string(200, 'x') + "^"))).empty());
    CHECK(room.engine.requests().empty());
}

TEST_CASE("a plugin that misbehaves costs its own answer only", "[assist][hostile]") {
    Room room(says("a"));
    SECTION("it fails") {
        room.plugins.on_complete = [](const Context&, const DocumentView&) {
            return CallStatus::failed;
        };
        CHECK(room.complete(query_at("^\n")).error().code == ErrorCode::internal);
    }
    SECTION("it emits too much") {
        int taken = 0;
        bool is_item_taken = true;
        room.plugins.on_complete = [&](const Context& context, const DocumentView&) {
            const std::string piece(1000, 'x');
            while (context->emit(0, piece)) {
                ++taken;
            }
            is_item_taken = context->emit(9, "y");
            return CallStatus::ok;
        };
        const auto answer = room.complete(query_at("^\n"));
        CHECK(texts(answer).size() == 1);
        CHECK(taken == 262);
        CHECK_FALSE(is_item_taken);
    }
    SECTION("it asks at a place that is not there") {
        CallStatus status = CallStatus::ok;
        room.plugins.on_complete = [&](const Context& context, const DocumentView& document) {
            DocumentView wrong = document;
            wrong.cursor_byte = 1'000'000;
            status = context->infill(wrong, {}, *context);
            return CallStatus::ok;
        };
        const auto answer = room.complete(query_at("^\n"));
        CHECK(answer.error().code == ErrorCode::invalid_argument);
        CHECK(status == CallStatus::failed);
    }
    SECTION("it asks again and again") {
        room.plugins.on_complete = [](const Context& context, const DocumentView& document) {
            for (int i = 0; i < 3; ++i) {
                context->infill(document, {}, *context);
            }
            return CallStatus::ok;
        };
        const auto answer = room.complete(query_at("^\n"));
        CHECK(texts(answer) == std::vector<std::string>{"aaa"});
        CHECK(answer->usage.generated_tokens == 3);
    }
    CHECK(room.assistant != nullptr);
}

TEST_CASE("a plugin that does not return is left behind and reaches nothing any more",
          "[assist][hostile]") {
    AssistLimits limits = quick_limits();
    limits.completion_budget = std::chrono::milliseconds(5);
    limits.plugin_grace = std::chrono::milliseconds(5);
    Room room(says("a"), limits);
    struct Late {
        bool is_cancelled, is_taken;
        CallStatus infill, generate;
    };
    std::promise<void> released;
    std::promise<Late> late;
    room.plugins.on_complete = [&](const Context& context, const DocumentView& document) {
        released.get_future().get();
        late.set_value({context->is_cancelled(),
                        context->emit(0, "late"),
                        context->infill(document, {}, *context),
                        context->generate(GenerateTask::explain, {}, *context)});
        return CallStatus::ok;
    };
    const auto answer = room.complete(query_at("^\n"));
    CHECK(answer.error().code == ErrorCode::timed_out);
    room.assistant.reset();
    released.set_value();
    const Late seen = late.get_future().get();
    CHECK(seen.is_cancelled);
    CHECK_FALSE(seen.is_taken);
    CHECK(seen.infill == CallStatus::cancelled);
    CHECK(seen.generate == CallStatus::cancelled);
    CHECK(room.engine.requests().empty());
}

TEST_CASE("a plugin with its own sink sees the pieces and may stop", "[assist][assistant]") {
    struct OneLine final : plugin_host::PieceSink {
        bool emit(std::uint32_t, std::string_view piece) override {
            text += piece;
            return false;
        }
        std::string text;
    };
    Room room([](const engine::Request&) { return FakeAnswer{.text = "a;\nb;\n", .holds = true}; });
    CallStatus status = CallStatus::ok;
    room.plugins.on_complete = [&](const Context& context, const DocumentView& document) {
        OneLine sink;
        status = context->infill(document, {}, sink);
        context->emit(0, sink.text);
        return CallStatus::ok;
    };
    const auto answer = room.complete(query_at("^\n"));
    CHECK(texts(answer) == std::vector<std::string>{"a;"});
    CHECK(status == CallStatus::cancelled);
}

// ---- actions ----

}  // namespace
}  // namespace hearth::assist
