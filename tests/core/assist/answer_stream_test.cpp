#include "core/assist/answer_stream.h"

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "core/assist/completion_gate.h"
#include "tests/core/assist/fakes.h"

namespace hearth::assist {
namespace {

using engine::FinishedEvent;
using engine::FinishReason;
using engine::SinkAnswer;
using engine::TokenEvent;

struct Stream {
    Stream()
        : stream(test::FakeTokenizer::own(),
                 std::make_unique<CompletionGate>(CompletionGateOptions{.before = "", .after = ""}),
                 100) {}

    SinkAnswer say(const std::string& text) {
        SinkAnswer answer = SinkAnswer::go_on;
        for (const char byte : text) {
            answer = stream.on_event(TokenEvent{static_cast<unsigned char>(byte), 0.5F});
        }
        return answer;
    }
    /// What the job can read now.
    std::string read() {
        std::string text;
        while (const auto piece = stream.next(TimePoint::min())) {
            text += *piece;
        }
        return text;
    }

    AnswerStream stream;
};

TEST_CASE("what is sound is there at once, the rest at the end", "[assist][answer_stream]") {
    Stream each;
    CHECK(each.say("a = 1;\nb") == SinkAnswer::go_on);
    CHECK(each.read() == "a = 1;");
    each.stream.on_event(FinishedEvent{FinishReason::stop_token, {.prompt_tokens = 7}});
    CHECK(each.read() == "\nb");
    CHECK(each.stream.outcome().reason == FinishReason::stop_token);
    CHECK(each.stream.outcome().usage.prompt_tokens == 7);
    CHECK(each.stream.outcome().confidence == Approx(0.5F));
}

TEST_CASE("the gate's end is the sequence's end", "[assist][answer_stream]") {
    Stream each;
    CHECK(each.say("a\n\n") == SinkAnswer::enough);
    CHECK(each.say("more\n") == SinkAnswer::enough);
    each.stream.on_event(FinishedEvent{FinishReason::sink_enough, {}});
    CHECK(each.read() == "a");
}

TEST_CASE("any special token ends the answer", "[assist][answer_stream]") {
    Stream each;
    each.say("a");
    CHECK(each.stream.on_event(TokenEvent{260, 1.0F}) == SinkAnswer::enough);
    CHECK(each.read() == "a");
}

TEST_CASE("a job that waits no more takes what is sound", "[assist][answer_stream]") {
    Stream each;
    each.say("a = 1;\nb = 2;\nc = hal");
    each.stream.end(FinishReason::deadline);
    CHECK(each.read() == "a = 1;\nb = 2;");
    CHECK(each.stream.outcome().usage.generated_tokens == 21);
    SECTION("what comes later is not heard") {
        CHECK(each.say("f;\n") == SinkAnswer::enough);
        each.stream.on_event(FinishedEvent{FinishReason::tokens_max, {}});
        CHECK(each.read().empty());
        CHECK(each.stream.outcome().reason == FinishReason::deadline);
    }
}

TEST_CASE("known tokens come first, as if they were said", "[assist][answer_stream]") {
    Stream each;
    const std::vector<TokenEvent> known = {{'a', 0.25F}, {';', 0.5F}};
    CHECK_FALSE(each.stream.replay(known));
    each.say("\nb");
    each.stream.end(FinishReason::cancelled);
    CHECK(each.read() == "a;");
    CHECK(each.stream.outcome().usage.generated_tokens == 2);
    CHECK(each.stream.outcome().confidence == Approx(std::pow(0.25 * 0.5 * 0.5 * 0.5, 0.25)));
    CHECK(each.stream.tokens().size() == 4);
    SECTION("and may be all there is") {
        Stream other;
        const std::vector<TokenEvent> whole = {{'a', 0.25F}, {260, 0.5F}, {'b', 0.5F}};
        CHECK(other.stream.replay(whole));
        CHECK(other.read() == "a");
        REQUIRE(other.stream.tokens().size() == 2);
        CHECK(other.stream.tokens().back().token == 260);
    }
}

TEST_CASE("the token that stops an answer is one of its tokens", "[assist][answer_stream]") {
    Stream each;
    each.say("a");
    FinishedEvent finished{FinishReason::stop_token, {}};
    finished.stop = TokenEvent{260, 0.125F};
    each.stream.on_event(finished);
    CHECK(each.read() == "a");
    REQUIRE(each.stream.tokens().size() == 2);
    CHECK(each.stream.outcome().confidence == Approx(std::sqrt(0.5 * 0.125)));
}

TEST_CASE("a failure closes the stream and is kept", "[assist][answer_stream]") {
    Stream each;
    each.say("a\n");
    each.stream.on_event(engine::FailedEvent{{ErrorCode::out_of_memory, "no room", "engine"}});
    each.stream.end(FinishReason::deadline);
    CHECK(each.read() == "a");
    REQUIRE(each.stream.outcome().error.has_value());
    CHECK(each.stream.outcome().error->code == ErrorCode::out_of_memory);
}

TEST_CASE("characters come whole", "[assist][answer_stream]") {
    Stream each;
    each.say("\"\xC3");
    each.stream.on_event(FinishedEvent{FinishReason::tokens_max, {}});
    CHECK(each.read() == "\"");
}

}  // namespace
}  // namespace hearth::assist
