// Requests move over to a new engine, and none of them notices.
#include "core/engine/engine_switch.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/core/engine/toy_engine.h"

namespace hearth::engine {
namespace {

using test::Answer;
using test::expected_text;
using test::prompt_of;
using test::request_of;

/// An engine of its own, and whether it has gone.
struct Stage {
    std::shared_ptr<Engine> engine() {
        return {&toy.started(), [this](Engine*) {
                    is_gone = true;
                    toy.control.open();
                    toy.engine.reset();
                }};
    }
    test::ToyEngine toy{EngineLimits{.context_tokens_max = 100}};
    bool is_gone = false;
};

Ticket submit(Engine& engine, Request request, Answer& answer) {
    request.sink = answer.sink();
    const auto ticket = engine.submit(std::move(request));
    REQUIRE(ticket);
    return *ticket;
}

TEST_CASE("a request ends where it began, and its engine after it", "[engine][switch]") {
    Stage slow;
    Stage fast;
    fast.toy.limits.context_tokens_max = 50;
    slow.toy.control.hold();  // its first step waits
    EngineSwitch both(slow.engine());
    CHECK(both.limits().context_tokens_max == 100);
    Answer early;
    submit(both, request_of(prompt_of(5)), early);

    both.move_to(fast.engine());
    CHECK(both.limits().context_tokens_max == 50);
    Answer late;
    submit(both, request_of(prompt_of(7, 1)), late);
    CHECK(late.wait().tokens() == expected_text(request_of(prompt_of(7, 1))));
    both.release_idle();
    CHECK_FALSE(slow.is_gone);
    CHECK(both.status().running + both.status().waiting == 1);

    slow.toy.control.open();
    CHECK(early.wait().tokens() == expected_text(request_of(prompt_of(5))));
    both.release_idle();
    CHECK(slow.is_gone);
    CHECK_FALSE(fast.is_gone);
    CHECK(both.status().running + both.status().waiting == 0);
}

TEST_CASE("a cancel reaches the engine of its ticket", "[engine][switch]") {
    Stage slow;
    Stage fast;
    slow.toy.control.hold();
    EngineSwitch both(slow.engine());
    Answer early;
    const Ticket first = submit(both, request_of(prompt_of(5)), early);
    both.move_to(fast.engine());
    fast.toy.control.hold();
    Answer late;
    submit(both, request_of(prompt_of(5)), late);
    both.cancel(first);
    both.cancel({std::uint64_t{9} << 56});  // of no engine
    slow.toy.control.open();
    fast.toy.control.open();
    CHECK(early.wait().reason() == FinishReason::cancelled);
    CHECK(late.wait().reason() == FinishReason::tokens_max);
}

TEST_CASE("who fails of a lost device is told to ask again, and the switch's owner why",
          "[engine][switch]") {
    Stage lost;
    Stage next;
    std::vector<std::string> losses;
    EngineSwitch both(lost.engine(), [&](const Error& error) { losses.push_back(error.text); });
    const auto error_of = [&](Error error) {
        lost.toy.control.fail_next(std::move(error));
        Answer answer;
        submit(both, request_of(prompt_of(5)), answer);
        return answer.wait().error().value();
    };
    CHECK(error_of({ErrorCode::internal, "a refusal", ""}).text == "a refusal");
    CHECK(losses.empty());
    const Error error = error_of({ErrorCode::device_lost, "a fault", ""});
    CHECK(error.code == ErrorCode::device_lost);
    CHECK(error.text == "a fault; ask again: another device takes over");
    CHECK(losses == std::vector<std::string>{"a fault"});
    both.move_to(next.engine());
    Answer answer;
    submit(both, request_of(prompt_of(5)), answer);
    CHECK(answer.wait().tokens() == expected_text(request_of(prompt_of(5))));
    // A request without a sink is refused as ever.
    CHECK_FALSE(both.submit(request_of(prompt_of(5))));
}

TEST_CASE("the end of the switch ends all engines and answers everybody", "[engine][switch]") {
    Stage slow;
    Stage fast;
    Answer early;
    {
        EngineSwitch both(slow.engine());
        submit(both, request_of(prompt_of(5)), early);
        both.move_to(fast.engine());
    }
    CHECK(slow.is_gone);
    CHECK(fast.is_gone);
    CHECK(early.ends() == 1);
}

}  // namespace
}  // namespace hearth::engine
