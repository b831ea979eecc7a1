#include "core/assist/line_judge.h"

#include <chrono>
#include <cmath>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "core/assist/text_lines.h"
#include "tests/core/assist/fakes.h"

namespace hearth::assist {
namespace {

using test::FakeTokenizer;

TEST_CASE("prompts are judged by requests, those that found no room or time are not",
          "[assist][judge]") {
    std::vector<engine::EventSink> sinks;
    const Submit submit = [&](engine::Request request) -> Result<engine::Ticket> {
        CHECK(request.priority == engine::Priority::fix);
        if (request.prompt.front() == 7) return fail(ErrorCode::unavailable, "full", "test");
        if (request.prompt.front() == 8) {
            request.sink(engine::FailedEvent{{ErrorCode::internal, "broken", "test"}});
            return engine::Ticket{1};
        }
        if (request.prompt.front() == 9) {  // never told
            sinks.push_back(request.sink);
            return engine::Ticket{1};
        }
        engine::FinishedEvent told{engine::FinishReason::tokens_max, {}};
        told.log_probabilities = {-1.0 * request.prompt.front()};
        request.sink(told);
        return engine::Ticket{1};
    };
    std::vector<JudgedPrompt> prompts;
    for (const std::int32_t token : {1, 7, 2, 8, 9, 3}) {
        prompts.push_back({.tokens = {token}, .asked = {{0, 0}}});
    }
    const auto told =
        judge_by_requests(prompts, engine::Priority::fix, submit, std::chrono::steady_clock::now());
    CHECK(told == std::vector<LogProbabilities>{{-1}, {}, {-2}, {}, {}, {-3}});
    CHECK(judge_by_requests({}, engine::Priority::fix, submit, TimePoint::max()).empty());
    sinks.clear();
}

TEST_CASE("what lines are judged by begins at the line's end and has three lines",
          "[assist][line_judge]") {
    CHECK(next_lines("\n  a();\n\n  b();\n  c();\n  d();\n") == "\n  a();\n\n  b();\n  c();\n");
    CHECK(next_lines("  \n}\n") == "\n}\n");
    CHECK(next_lines("\nlast") == "\nlast");
    CHECK(next_lines(");\n  a();\n").empty());  // code right of the cursor
    CHECK(next_lines("\n \n\n").empty());
    CHECK(next_lines("\n").empty());
    CHECK(next_lines("").empty());
    CHECK(next_lines("\n" + std::string(1000, 'x')).size() == 360);
    CHECK(next_lines("\r\na();\r\n") == "\na();\r\n");
}

/// A byte is a token; all that is asked is said to be as probable as the test says.
struct Listener {
    std::vector<std::string> prompts;
    std::vector<std::size_t> asked;

    Judge judge(double each, std::size_t answered = 100) {
        return [each, answered, this](const std::vector<JudgedPrompt>& judged) {
            std::vector<LogProbabilities> told;
            for (const JudgedPrompt& prompt : judged) {
                prompts.push_back(FakeTokenizer::own()->show(prompt.tokens));
                asked.push_back(prompt.asked.size());
                told.emplace_back(told.size() < answered ? prompt.asked.size() : 0, each);
            }
            return told;
        };
    }
};

TEST_CASE("a line that the model said is asked about only what follows it, but for the first",
          "[assist][line_judge]") {
    const auto tokenizer = FakeTokenizer::own();
    const Tokens prompt = *tokenizer->encode("P");
    const JudgedPlace place{.prompt = prompt, .healed = "  ", .next = "\nend"};
    const std::vector<AskedLine> lines = {{"abc", true}, {"de", true}, {"f", false}, {"g", false}};
    Listener listener;
    const auto verdicts = judge_lines(place, lines, *tokenizer, listener.judge(-1.0, 3));
    REQUIRE(verdicts);
    CHECK(listener.prompts ==
          std::vector<std::string>{"P  abc\nen", "P  de\nen", "P  f\nen", "P  g\nen"});
    CHECK(listener.asked == std::vector<std::size_t>{9, 3, 7, 7});
    REQUIRE(verdicts->size() == 4);
    CHECK(verdicts->at(0)->line == -6.0);  // healed text, line, and the line's end
    CHECK(verdicts->at(0)->next == -3.0);
    CHECK_FALSE(verdicts->at(1)->line);
    CHECK(verdicts->at(1)->next == -3.0);
    CHECK(verdicts->at(2)->line == -4.0);
    CHECK_FALSE(verdicts->at(3));
}

TEST_CASE("a token that ends a line and is more is the line's", "[assist][line_judge]") {
    const FakeTokenizer tokenizer({"};\n\n"});
    const std::vector<AskedLine> lines = {{"};", true}, {"a};", true}, {"b", false}};
    VerdictMemory memory;
    const JudgedPlace place{.prompt = {}, .healed = "", .next = "\n\nend"};
    for (const std::vector<std::size_t>& asked : {std::vector<std::size_t>{4, 3, 6}, {}}) {
        Listener listener;
        const auto verdicts = judge_lines(place, lines, tokenizer, listener.judge(-1.0), &memory);
        REQUIRE(verdicts);
        CHECK(verdicts->at(0)->line == -1.0);
        CHECK(verdicts->at(0)->next == -3.0);
        CHECK(verdicts->at(1)->next == -3.0);
        CHECK(verdicts->at(2)->line == -2.0);
        CHECK(verdicts->at(2)->next == -4.0);
        CHECK(listener.asked == asked);
    }
    Listener listener;
    const std::vector<AskedLine> copy = {{"a};", false}};
    CHECK(judge_lines(place, copy, tokenizer, listener.judge(-1.0), &memory)->at(0)->line == -2.0);
    CHECK(listener.asked == std::vector<std::size_t>{2});
}

TEST_CASE("a few lines are judged, whatever their number", "[assist][line_judge]") {
    const auto tokenizer = FakeTokenizer::own();
    const std::vector<AskedLine> lines(kLinesJudgedMax + 3, {"a", true});
    Listener listener;
    const auto verdicts = judge_lines(
        {.prompt = {}, .healed = "x", .next = "\ny"}, lines, *tokenizer, listener.judge(0));
    CHECK(verdicts->size() == lines.size());
    CHECK(listener.prompts.size() == kLinesJudgedMax);
}

TEST_CASE("what follows a line is asked about once while somebody types along it",
          "[assist][line_judge]") {
    const auto tokenizer = FakeTokenizer::own();
    VerdictMemory memory;
    const auto judge = [&](std::string_view before,
                           std::vector<AskedLine> lines,
                           double each,
                           std::string_view next = "\nend") {
        Listener listener;
        const Tokens prompt = *tokenizer->encode(before);
        const JudgedPlace place{
            .prompt = prompt, .healed = "", .next = next, .head = last_line(before)};
        const auto verdicts = judge_lines(place, lines, *tokenizer, listener.judge(each), &memory);
        std::vector<std::string> said;
        for (const std::string& asked : listener.prompts) {
            said.push_back(asked.substr(prompt.size()));
        }
        return std::pair(verdicts.value(), said);
    };
    judge("above\n  ", {{"abc", true}, {"ade", true}}, -1.0);
    const auto [all_known, asked] = judge("above\n  a", {{"de", true}, {"bc", true}}, -2.0);
    CHECK(asked.empty());
    CHECK(all_known[0]->next == -3.0);
    CHECK_FALSE(all_known[0]->line);
    // A new line is asked about, and a line that was not said about itself alone.
    const auto [some_known, new_asked] =
        judge("above\n  a", {{"de", true}, {"x", true}, {"bc", false}}, -2.0);
    CHECK(new_asked == std::vector<std::string>{"de", "x\nen", "bc"});
    CHECK(some_known[0]->line == -6.0);
    // Further along what was asked about itself is known as well.
    const auto [later, later_asked] =
        judge("above\n  ad", {{"e", true}, {"x", true}, {"f", false}}, -3.0);
    CHECK(later_asked == std::vector<std::string>{"x\nen", "f\nen"});
    CHECK(later[0]->line == -4.0);
    CHECK(later[0]->next == -3.0);
    CHECK(some_known[0]->next == -3.0);
    CHECK(some_known[1]->next == -6.0);
    CHECK(some_known[2]->line == -6.0);
    CHECK(some_known[2]->next == -3.0);
    // Elsewhere, or behind another prompt, it is another question.
    CHECK(judge("below\n  a", {{"de", true}}, -2.0).second.size() == 1);
    CHECK(judge("above\n  a", {{"de", true}}, -2.0, "\nEnd").second.size() == 1);
    CHECK(judge("above\n a", {{"de", true}}, -2.0).second.size() == 1);
}

TEST_CASE("so many lines are kept, the newest ones", "[assist][line_judge]") {
    VerdictMemory memory;
    for (std::size_t i = 0; i <= kLinesKeptMax; ++i) {
        memory.keep(std::to_string(i), {.next = -1.0, .tokens = {}});
        memory.keep(std::to_string(i),
                    {.next = static_cast<double>(i), .tokens = {{3, -2.0}, {5, -1.0}}});
    }
    CHECK_FALSE(memory.find("0"));
    REQUIRE(memory.find("1"));
    CHECK(memory.find("1")->next == 1.0);
    CHECK(memory.find("1")->from(3) == -3.0);
    CHECK(memory.find("1")->from(5) == -1.0);
    CHECK_FALSE(memory.find("1")->from(4));
    CHECK(memory.find(std::to_string(kLinesKeptMax)));
}

std::vector<double> weigh(const std::vector<WeighedLine>& lines) {
    std::vector<double> weights = weigh_lines(lines);
    for (double& weight : weights) {
        weight = std::exp(weight);
    }
    return weights;
}

TEST_CASE("what follows weighs by Bayes' rule", "[assist][line_judge]") {
    const auto verdict = [](double line, double next) {
        return LineVerdict{std::log(line), std::log(next)};
    };
    // What follows is a quarter as likely behind the first, or comes later; what nobody has thought
    // of, 0.7, has the mean.
    const double worse = 0.25 + kFitAnyway;
    const double best = 1.0 + kFitAnyway;
    const double mean = (0.2 * worse + 0.1 * best) / 0.3;
    const auto both =
        weigh({{std::log(0.2), verdict(0.2, 0.1)}, {std::log(0.1), verdict(0.1, 0.4)}});
    CHECK(both[0] == Approx(0.2 * worse / mean));
    CHECK(both[1] == Approx(0.1 * best / mean));
    // A copy is told by what the healed text costs in the first verdict: a half.
    const auto copy = weigh({{std::log(0.2), verdict(0.1, 0.1)}, {{}, verdict(0.05, 0.4)}});
    CHECK(copy[1] == Approx(both[1]));
    // Without a verdict: as if what follows were as likely behind it as behind the others.
    const auto unjudged = weigh({{std::log(0.5), verdict(0.5, 0.1)}, {std::log(0.3), {}}});
    CHECK(unjudged[0] == Approx(0.5));
    CHECK(unjudged[1] == Approx(0.3));
    CHECK(weigh({{std::log(0.5), {}}, {std::log(0.3), {}}})[1] == Approx(0.3));
    CHECK(weigh_lines({}).empty());
    // Where more lines may follow a likely one, it is not lost by what stands below.
    const auto later =
        weigh({{std::log(0.9), verdict(0.9, 1e-30)}, {std::log(0.01), verdict(0.01, 0.5)}});
    CHECK(later[0] > 0.5);
    // Whatever is said, nothing is no number.
    const auto lost =
        weigh({{std::log(0.5), LineVerdict{-2.0, -1e9}}, {-1e9, LineVerdict{{}, -1e9}}});
    CHECK(lost[0] == Approx(0.5));
    CHECK(lost[1] == 0.0);
}

}  // namespace
}  // namespace hearth::assist
