#include "core/assist/line_search.h"

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace hearth::assist {
namespace {

using engine::TokenEvent;

/// A language of letters: after each text, what may come and how likely, likeliest first. '.' ends
/// a line.
using Language = std::map<std::string, std::vector<std::pair<char, float>>>;

struct Speaker {
    explicit Speaker(Language with_language) : language(std::move(with_language)) {}

    /// Goes on greedily to the end of the line.
    SaidLine say(SaidLine line) const {
        std::string text;
        for (const TokenEvent& token : line.tokens) {
            text += static_cast<char>(token.token);
        }
        while (!text.ends_with('.')) {
            const auto& next = language.at(text);
            TokenEvent event{next[0].first, next[0].second};
            for (std::size_t i = 1; i < next.size(); ++i) {
                event.rivals[i - 1] = {next[i].first, next[i].second};
            }
            line.tokens.push_back(event);
            text += next[0].first;
        }
        Evidence& evidence = line.decision.model_tokens;
        for (const TokenEvent& token : line.tokens) {
            evidence.log_probability += std::log(token.probability);
            ++evidence.token_count;
        }
        line.decision.model_line = text.substr(0, text.size() - 1);
        if (faulty == line.decision.model_line) line.decision.model_fault = Fault::unbalanced;
        return line;
    }

    FoundLine search(double probability_min = 0.0,
                     const LineSearchLimits& limits = {},
                     std::vector<CopyOffer> copies = {}) {
        return search_line(
            say({}), copies, probability_min, limits, [&](std::vector<SaidLine> beginnings) {
                CHECK(beginnings.size() <= limits.at_once_max);
                std::vector<SaidLine> said;
                for (SaidLine& beginning : beginnings) {
                    CHECK(beginning.known_count == beginning.tokens.size());
                    begun.emplace_back();
                    for (const TokenEvent& token : beginning.tokens) {
                        begun.back() += static_cast<char>(token.token);
                    }
                    said.push_back(say(std::move(beginning)));
                }
                if (is_late) said.clear();
                return said;
            });
    }

    Language language;
    std::string faulty;
    bool is_late = false;
    std::vector<std::string> begun;
};

/// Greedy: "aa" with 0.6 * 0.3; "ba" has 0.4 * 0.9.
const Language kFlatFirst = {{"", {{'a', 0.6F}, {'b', 0.4F}}},
                             {"a", {{'a', 0.3F}, {'b', 0.25F}, {'c', 0.2F}}},
                             {"b", {{'a', 0.9F}, {'b', 0.1F}}},
                             {"aa", {{'.', 1.0F}}},
                             {"ab", {{'.', 1.0F}}},
                             {"ac", {{'.', 1.0F}}},
                             {"ba", {{'.', 1.0F}}},
                             {"bb", {{'.', 1.0F}}}};

TEST_CASE("the likeliest line is found, and its tokens", "[assist][line_search]") {
    Speaker speaker(kFlatFirst);
    const FoundLine found = speaker.search(0.0, {.at_once_max = 1});
    CHECK(found.decision.choice.text == "ba");
    CHECK(found.decision.choice.source == Source::model);
    CHECK(std::exp(found.decision.model_tokens.log_probability) == Approx(0.36));
    REQUIRE(found.tokens.size() == 3);
    CHECK(found.tokens[0].token == 'b');
    // No other beginning is likelier than this line.
    CHECK(speaker.begun == std::vector<std::string>{"b"});
}

TEST_CASE("beginnings are gone on with best first, side by side, a few of them",
          "[assist][line_search]") {
    Speaker speaker(kFlatFirst);
    speaker.language["b"] = {{'a', 0.2F}, {'b', 0.2F}};
    speaker.search(0.0, {.at_once_max = 2});
    CHECK(speaker.begun == std::vector<std::string>{"b"});  // "ab" cannot beat "aa"
    speaker.begun.clear();
    speaker.language["a"] = {{'a', 0.1F}, {'b', 0.5F}, {'c', 0.2F}};
    speaker.search(0.0, {.at_once_max = 2});
    CHECK(speaker.begun == std::vector<std::string>{"b", "ab"});
    speaker.begun.clear();
    speaker.search(0.0, {.beginnings_max = 1});
    CHECK(speaker.begun == std::vector<std::string>{"b"});
}

TEST_CASE("what would not be shown is not looked for", "[assist][line_search]") {
    Speaker speaker(kFlatFirst);
    const FoundLine found = speaker.search(0.9);
    CHECK(speaker.begun.empty());
    CHECK(found.decision.choice.source == Source::none);
    CHECK(found.tokens.empty());
}

TEST_CASE("two ways to say a line count together", "[assist][line_search]") {
    // "xy" in two tokens, or in the token X that means the same here.
    Speaker speaker({{"", {{'z', 0.4F}, {'x', 0.35F}, {'X', 0.25F}}},
                     {"z", {{'.', 0.5F}}},
                     {"x", {{'.', 1.0F}}},
                     {"X", {{'.', 1.0F}}}});
    SaidLine first = speaker.say({});
    const FoundLine found =
        search_line(first, {}, 0.0, {}, [&](const std::vector<SaidLine>& beginnings) {
            std::vector<SaidLine> said;
            for (const SaidLine& beginning : beginnings) {
                said.push_back(speaker.say(beginning));
                said.back().decision.model_line = "xy";
            }
            return said;
        });
    CHECK(found.decision.choice.text == "xy");
    CHECK(std::exp(found.decision.model_tokens.log_probability) == Approx(0.6));
    CHECK(found.tokens.at(0).token == 'x');
}

TEST_CASE("a line with a fault is none, and its other endings are looked at",
          "[assist][line_search]") {
    Speaker speaker(kFlatFirst);
    speaker.faulty = "ba";
    CHECK(speaker.search(0.0, {.at_once_max = 1}).decision.choice.text == "aa");
    CHECK(speaker.begun == std::vector<std::string>{"b"});
    speaker.faulty = "aa";
    speaker.language["b"] = {{'a', 0.1F}};
    CHECK(speaker.search().decision.choice.text == "ab");
}

TEST_CASE("a copy may be likelier than all lines, or help one of them", "[assist][line_search]") {
    CopyOffer copy;
    copy.text = "ab";
    copy.evidence = {.text = "ab", .match_characters = 300, .agreeing = 8};
    Speaker speaker(kFlatFirst);
    const FoundLine found = speaker.search(0.0, {}, {copy});
    CHECK(found.decision.choice.text == "ab");
    CHECK(found.decision.choice.source == Source::copy);
    CHECK(found.tokens.empty());
}

/// Verdicts by text, and what was asked.
struct Verdicts {
    std::map<std::string, LineVerdict> of;
    std::vector<std::string> asked = {};

    JudgeLines judge() {
        return [this](std::span<const AskedLine> lines) {
            LineVerdicts verdicts;
            for (const AskedLine& line : lines) {
                asked.push_back(line.text + (line.is_said ? "" : "?"));
                const auto found = of.find(line.text);
                verdicts.push_back(found == of.end() ? std::nullopt : std::optional(found->second));
            }
            return verdicts;
        };
    }
};

TEST_CASE("what follows tells lines apart", "[assist][line_search]") {
    Speaker speaker(kFlatFirst);
    const auto go_on = [&](const std::vector<SaidLine>& beginnings) {
        std::vector<SaidLine> said;
        for (const SaidLine& beginning : beginnings) {
            said.push_back(speaker.say(beginning));
        }
        return said;
    };
    const LineSearchLimits limits = {.chances = {.of_best = 0.1}};
    // "ba" has 0.36, "aa" 0.18, "ab" 0.15; the last is the one behind which the rest is likely.
    Verdicts verdicts{{{"ba", {std::log(0.36), -9}}, {"aa", {{}, -9}}, {"ab", {{}, -3}}}};
    const auto search = [&](const std::vector<CopyOffer>& copies) {
        verdicts.asked.clear();
        return search_line(speaker.say({}), copies, 0.0, limits, go_on, verdicts.judge());
    };
    const FoundLine found = search({});
    CHECK(found.decision.choice.text == "ab");
    CHECK(found.decision.choice.source == Source::model);
    CHECK(found.decision.model_line == "ab");
    REQUIRE(found.tokens.size() == 3);
    CHECK(found.tokens[1].token == 'b');
    CHECK(verdicts.asked.front() == "ba");

    // A copy is judged beside them, though the model did not say it, and is a copy still.
    CopyOffer copy;
    copy.text = "cc";
    copy.evidence = {.text = "cc", .match_characters = 20, .agreeing = 1};
    verdicts.of["cc"] = {std::log(0.01), 1.0};
    const FoundLine copied = search({copy});
    CHECK(std::ranges::find(verdicts.asked, "cc?") != verdicts.asked.end());
    CHECK(copied.decision.choice.text == "cc");
    CHECK(copied.decision.choice.source == Source::copy);
    CHECK(copied.tokens.empty());
    copy.fault = Fault::unbalanced;
    CHECK(search({copy}).decision.choice.text == "ab");

    verdicts.of.clear();  // no time: what the model says stands
    CHECK(search({}).decision.choice.text == "ba");
}

TEST_CASE("one line alone is not judged, nor one far less likely than the best",
          "[assist][line_search]") {
    Verdicts verdicts;
    Speaker speaker({{"", {{'a', 0.9F}, {'b', 0.02F}, {'c', 0.01F}}},
                     {"a", {{'.', 1.0F}}},
                     {"b", {{'.', 1.0F}}},
                     {"c", {{'.', 1.0F}}}});
    const auto go_on = [&](std::vector<SaidLine> beginnings) {
        for (SaidLine& line : beginnings) {
            line = speaker.say(std::move(line));
        }
        return beginnings;
    };
    search_line(speaker.say({}), {}, 0.0, {.chances = {.of_best = 0.001}}, go_on, verdicts.judge());
    CHECK(verdicts.asked.empty());
    speaker.language[""] = {{'a', 0.5F}, {'b', 0.4F}, {'c', 0.005F}};
    search_line(speaker.say({}), {}, 0.0, {.chances = {.of_best = 0.001}}, go_on, verdicts.judge());
    CHECK(verdicts.asked == std::vector<std::string>{"a", "b"});
}

TEST_CASE("where time is up, the best so far is the answer", "[assist][line_search]") {
    Speaker speaker(kFlatFirst);
    speaker.is_late = true;
    const FoundLine found = speaker.search();
    CHECK(found.decision.choice.text == "aa");
    CHECK(found.tokens.size() == 3);
}

}  // namespace
}  // namespace hearth::assist
