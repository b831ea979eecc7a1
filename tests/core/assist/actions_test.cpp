// Explanations and fixes: what a plugin asks for as an action, over fakes.
#include <cmath>
#include <future>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/core/assist/room.h"

namespace hearth::assist {
namespace {

ActionQuery action_query(const DocumentRef& document) {
    ActionQuery query;
    query.document = document;
    query.selection = {.begin_byte = 0, .end_byte = document->text.size()};
    return query;
}

TEST_CASE("actions are listed with the selection and its diagnostics", "[assist][actions]") {
    Room room(says(""));
    std::string seen;
    room.plugins.on_list = [&](const DocumentView& document,
                               const plugin_host::SelectionView& selection) {
        seen = document.text;
        for (const auto& diagnostic : selection.diagnostics) {
            seen += diagnostic.message;
        }
        return std::vector<Action>{
            {.id = 7, .kind = ActionKind::fixes, .title = "Fix", .range = {0, 7}},
            {.id = 8, .kind = ActionKind::fixes, .title = "outside", .range = {0, 70}}};
    };
    ActionQuery query = action_query(make_document("int a;\n"));
    query.diagnostics = {{.range = {0, 3}, .source = "cc", .message = "wrong"}};
    std::promise<Result<std::vector<Action>>> promise;
    room.assistant->list_actions(
        query, [&](Result<std::vector<Action>> actions) { promise.set_value(std::move(actions)); });
    const auto actions = promise.get_future().get();
    REQUIRE(actions.has_value());
    REQUIRE(actions->size() == 1);
    CHECK(actions->front().id == 7);
    CHECK(seen == "int a;\nwrong");
}

TEST_CASE("an explanation streams and comes back whole", "[assist][actions]") {
    Room room(says("\nReturns one. It never fails. "));
    room.plugins.on_run = [](const Context& context, const DocumentView& document, const Action&) {
        const std::vector<Part> parts = {{PartKind::code, document.uri, document.text}};
        return context->generate(GenerateTask::explain, parts, *context);
    };
    std::string streamed;
    const auto document = make_document("int f() { return 1; }\r\n");
    const auto answer =
        room.start_action(action_query(document),
                          {.kind = ActionKind::explains, .title = "Explain", .range = {0, 5}},
                          [&](std::string_view piece) { streamed += piece; })
            .get();
    REQUIRE(answer.has_value());
    CHECK(answer->text == "Returns one. It never fails.");
    CHECK(streamed == answer->text);
    CHECK(answer->is_found);
    CHECK(room.prompt(0) == "[<|explain|>]src/a.c\nint f() { return 1; }\n[<|fim_middle|>]");
    CHECK(room.engine.requests()[0].priority == engine::Priority::chat);
    CHECK(room.engine.requests()[0].tokens_max == AssistLimits().explain_tokens_max);
}

TEST_CASE("an explanation and a fix that the model is not sure of are not found",
          "[assist][actions]") {
    const auto document = make_document("int f() { return 1; }\n");
    const auto ask = [&](const AssistLimits& limits, ActionKind kind, GenerateTask task) {
        Room room(
            [](const engine::Request&) {
                return FakeAnswer{.text = "int g() { return 2; }", .probability = 0.3F};
            },
            limits);
        room.plugins.on_run = [task](
                                  const Context& context, const DocumentView& view, const Action&) {
            const std::vector<Part> parts = {{PartKind::marked_line, view.uri, view.text}};
            return context->generate(task, parts, *context);
        };
        const auto answer = room.start_action(action_query(document),
                                              {.kind = kind, .title = "Ask", .range = {0, 21}})
                                .get();
        REQUIRE(answer.has_value());
        CHECK(answer->is_found == !answer->text.empty());
        return answer->text;
    };
    AssistLimits unchecked = quick_limits();
    unchecked.explain_confidence_min = 0.0;
    unchecked.fix_probability_min = 0.0;
    CHECK(ask(quick_limits(), ActionKind::explains, GenerateTask::explain).empty());
    CHECK_FALSE(ask(unchecked, ActionKind::explains, GenerateTask::explain).empty());
    CHECK(ask(quick_limits(), ActionKind::fixes, GenerateTask::fix).empty());
    CHECK(ask(unchecked, ActionKind::fixes, GenerateTask::fix) == "int g() { return 2; }");
}

struct FixCase {
    std::string line;  ///< of the document "a;\n" + line + "z;\n"
    std::string model, fixed;
    std::size_t range_bytes;
};

TEST_CASE("a fix replaces the action's range and keeps its line ends", "[assist][actions]") {
    const std::vector<FixCase> cases = {
        {"    itn b;\n", "    int b;\n", "    int b;", 10},
        {"    itn b;\n", "    int b;", "    int b;\n", 11},
        {"    itn b;\n", "int b;", "    int b;", 10},
        {"    itn b;\r\n", "    int b;", "    int b;\r\n", 12},
        {"    itn b;\r\n", "    int b;", "    int b;", 10},
        {"    itn b;\n", "    itn b;  \n", "", 10},
        {"    itn b;\n", "", "", 10},
    };
    for (const FixCase& each : cases) {
        INFO(each.line << " <- " << each.model);
        Room room([&](const engine::Request&) {
            return FakeAnswer{.text = each.model, .probability = 0.99F};
        });
        room.plugins.on_run =
            [](const Context& context, const DocumentView& document, const Action& action) {
                const std::string_view text = document.text;
                const auto [begin, end] = action.range;
                const std::vector<Part> parts = {
                    {PartKind::code, document.uri, text.substr(0, begin)},
                    {PartKind::marked_line, document.uri, text.substr(begin, end - begin)},
                    {PartKind::code, document.uri, text.substr(end)}};
                return context->generate(GenerateTask::fix, parts, *context);
            };
        const std::string line_end = each.line.ends_with("\r\n") ? "\r\n" : "\n";
        const auto document = make_document("a;" + line_end + each.line + "z;" + line_end);
        const std::uint64_t begin = 2 + line_end.size();
        const auto answer = room.start_action(action_query(document),
                                              {.kind = ActionKind::fixes,
                                               .title = "Fix",
                                               .range = {begin, begin + each.range_bytes}})
                                .get();
        REQUIRE(answer.has_value());
        CHECK(answer->text == each.fixed);
        CHECK(answer->is_found == !each.fixed.empty());
        CHECK(answer->range.begin_byte == begin);
        CHECK(room.prompt(0).starts_with("[<|fix|>]src/a.c\na;\n[<|bug|>]    itn b;\n"));
        CHECK(room.engine.requests()[0].priority == engine::Priority::fix);
    }
}

TEST_CASE("a fix is the likeliest line; a diagnostic says that the line is wrong",
          "[assist][actions]") {
    // The model says nothing of worth. As it is the line is likely, its likeliest change less so.
    const std::string likely = "\ta = b + c;";
    const std::string change = "\ta = b - c;";
    const auto judge = [&](std::span<const tokenizer::TokenId> before, tokenizer::TokenId next) {
        std::string line;
        for (const tokenizer::TokenId token : before) {
            line += token < 256 ? static_cast<char>(token) : '\n';
        }
        line = line.substr(line.rfind('\n') + 1) + (next < 256 ? static_cast<char>(next) : '\n');
        if ((likely + '\n').starts_with(line)) return line.ends_with('+') ? std::log(0.6) : 0.0;
        if ((change + '\n').starts_with(line)) return line.ends_with('-') ? std::log(0.3) : 0.0;
        return -20.0;
    };
    const auto document = make_document("int c;\n" + likely + "\nz;\n");
    const auto fix = [&](bool is_diagnosed, bool is_full) {
        Room room([&](const engine::Request&) {
            return FakeAnswer{.text = likely, .probability = 0.9F, .judge = judge};
        });
        room.plugins.on_run = [&](const Context& context, const DocumentView& view, const Action&) {
            std::vector<Part> parts = {{PartKind::code, view.uri, "int c;\n"},
                                       {PartKind::marked_line, view.uri, likely},
                                       {PartKind::code, view.uri, "z;\n"}};
            if (is_diagnosed) parts.push_back({PartKind::diagnostic, {}, "wrong sign"});
            if (is_full) room.engine.set_full(true);
            return context->generate(GenerateTask::fix, parts, *context);
        };
        const plugin_host::ByteRange range{7, 7 + likely.size()};
        return room
            .start_action(action_query(document),
                          {.kind = ActionKind::fixes, .title = "Fix", .range = range})
            .get();
    };
    CHECK_FALSE(fix(false, false)->is_found);
    CHECK(fix(true, false)->text == change);
    CHECK(fix(true, true).error().code == ErrorCode::unavailable);
}

TEST_CASE("an action whose range has gone is refused", "[assist][actions]") {
    Room room(says(""));
    const auto document = make_document("int a;\n");
    for (const plugin_host::ByteRange range : {plugin_host::ByteRange{5, 3}, {0, 8}}) {
        const auto answer =
            room.start_action(action_query(document), {.title = "Fix", .range = range}).get();
        CHECK(answer.error().code == ErrorCode::invalid_argument);
    }
}

TEST_CASE("a cancelled explanation ends and streams no more", "[assist][actions]") {
    Room room([](const engine::Request&) {
        return FakeAnswer{.text = "One sentence. Two", .holds = true};
    });
    room.plugins.on_run = [](const Context& context, const DocumentView& document, const Action&) {
        const std::vector<Part> parts = {{PartKind::code, document.uri, document.text}};
        return context->generate(GenerateTask::explain, parts, *context);
    };
    CancelSource cancel;
    ActionQuery query = action_query(make_document("int a;\n"));
    query.cancel = cancel.token();
    std::promise<std::string> first;
    auto future =
        room.start_action(query,
                          {.kind = ActionKind::explains, .title = "Explain", .range = {}},
                          [&](std::string_view piece) { first.set_value(std::string(piece)); });
    CHECK(first.get_future().get() == "One sentence.");
    cancel.cancel();
    CHECK(future.get().error().code == ErrorCode::cancelled);
}

TEST_CASE("a model without words for it is told for an explanation", "[assist][actions]") {
    Room room(says(""),
              quick_limits(),
              std::make_shared<FakeTokenizer>(std::vector<std::string>{"<|endoftext|>"}));
    room.plugins.on_run = [](const Context& context, const DocumentView&, const Action&) {
        return context->generate(GenerateTask::explain, {}, *context);
    };
    const auto answer =
        room.start_action(action_query(make_document("int a;\n")),
                          {.kind = ActionKind::explains, .title = "Explain", .range = {}})
            .get();
    CHECK(answer.error().code == ErrorCode::unsupported);
}

}  // namespace
}  // namespace hearth::assist
