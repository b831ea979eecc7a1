// What the tests of the assistant share: one over fakes, documents, and queries at a marked cursor.
#pragma once

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "core/assist/assist.h"
#include "tests/core/assist/fakes.h"

namespace hearth::assist {

using plugin_host::Action;
using plugin_host::ActionKind;
using plugin_host::CallStatus;
using plugin_host::DocumentView;
using plugin_host::GenerateTask;
using plugin_host::InfillOptions;
using plugin_host::Part;
using plugin_host::PartKind;
using test::FakeAnswer;
using test::FakeEngine;
using test::FakePluginHost;
using test::FakeTokenizer;
using Context = FakePluginHost::Context;

inline AssistLimits quick_limits() {
    AssistLimits limits;
    // A busy machine must not change what a test sees.
    limits.context_budget = std::chrono::seconds(20);
    limits.completion_budget = std::chrono::minutes(10);
    limits.line_search_budget = std::chrono::minutes(10);
    limits.line_judge_budget = std::chrono::minutes(10);
    return limits;
}

/// An assistant over fakes. The plugin asks for one suggestion unless the test sets another.
struct Room {
    explicit Room(FakeEngine::Script script,
                  const AssistLimits& limits = quick_limits(),
                  std::shared_ptr<const FakeTokenizer> with_tokenizer = FakeTokenizer::own())
        : tokenizer(std::move(with_tokenizer)),
          engine(std::move(script)) {
        plugins.on_complete = [](const Context& context, const DocumentView& document) {
            return context->infill(document, {}, *context);
        };
        assistant = Assistant::make({.engine = engine,
                                     .tokenizer = tokenizer,
                                     .plugins = plugins,
                                     .log = log,
                                     .clock = clock},
                                    limits);
    }

    std::future<Result<CompletionAnswer>> start(CompletionQuery query) {
        auto promise = std::make_shared<std::promise<Result<CompletionAnswer>>>();
        auto future = promise->get_future();
        assistant->complete(std::move(query), [promise](Result<CompletionAnswer> answer) {
            promise->set_value(std::move(answer));
        });
        return future;
    }
    std::future<Result<ActionAnswer>> start_action(ActionQuery query,
                                                   Action action,
                                                   OnPiece on_piece = {}) {
        auto promise = std::make_shared<std::promise<Result<ActionAnswer>>>();
        auto future = promise->get_future();
        assistant->run_action(
            std::move(query),
            std::move(action),
            std::move(on_piece),
            [promise](Result<ActionAnswer> answer) { promise->set_value(std::move(answer)); });
        return future;
    }
    Result<CompletionAnswer> complete(CompletionQuery query) {
        return start(std::move(query)).get();
    }
    std::string prompt(std::size_t index) const {
        return tokenizer->show(engine.requests().at(index).prompt);
    }

    SteadyClock clock;
    Log log{LogLevel::error};
    std::shared_ptr<const FakeTokenizer> tokenizer;
    FakeEngine engine;
    FakePluginHost plugins;
    std::unique_ptr<Assistant> assistant;
};

inline DocumentRef make_document(std::string text, std::string path = "src/a.c") {
    auto document = std::make_shared<Document>();
    document->uri = "file:///home/me/demo/" + path;
    document->path = std::move(path);
    document->language = "c";
    document->text = std::move(text);
    return document;
}

inline CompletionQuery query_at(const std::string& marked) {
    const test::MarkedText place(marked);
    CompletionQuery query;
    query.document = make_document(place.text);
    query.cursor_byte = place.cursor;
    query.trigger = Trigger::invoked;
    return query;
}

inline FakeEngine::Script says(std::string text) {
    return [text](const engine::Request&) { return FakeAnswer{.text = text}; };
}

inline std::vector<std::string> texts(const Result<CompletionAnswer>& answer) {
    std::vector<std::string> out;
    REQUIRE(answer.has_value());
    for (const Suggestion& suggestion : answer->suggestions) {
        out.push_back(suggestion.text);
    }
    return out;
}

}  // namespace hearth::assist
