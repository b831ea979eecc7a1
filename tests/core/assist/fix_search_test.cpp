#include "core/assist/fix_search.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/core/assist/fakes.h"

namespace hearth::assist {
namespace {

const std::string kPrompt = "mend: ";

/// Knows lines and how likely each is. A byte is a token: after what is said of a line the next
/// byte is as likely as all lines that go on so, among those that begin so.
struct Reader {
    std::vector<std::pair<std::string, double>> lines;  ///< and their shares
    std::size_t judged_max = 1000;
    std::size_t prompts = 0;

    [[nodiscard]] double weight_of(const std::string& head) const {
        double sum = 1e-12;
        for (const auto& [line, weight] : lines) {
            if ((line + '\0').starts_with(head)) sum += weight;
        }
        return sum;
    }
    std::vector<LogProbabilities> judge(const std::vector<JudgedPrompt>& asked) {
        std::vector<LogProbabilities> told;
        for (const JudgedPrompt& prompt : asked) {
            told.emplace_back();
            if (++prompts > judged_max) continue;
            for (const engine::Asked& each : prompt.asked) {
                std::string text;
                for (std::int32_t i = 0; i <= each.row; ++i) {
                    text += static_cast<char>(prompt.tokens.at(static_cast<std::size_t>(i)));
                }
                REQUIRE(text.starts_with(kPrompt));
                const std::string head = text.substr(kPrompt.size());
                const char next = each.token < 256 ? static_cast<char>(each.token) : '\0';
                told.back().push_back(std::log(weight_of(head + next) / weight_of(head)));
            }
            CHECK(std::ranges::is_sorted(prompt.asked, {}, &engine::Asked::row));
        }
        return told;
    }
    Result<std::optional<FoundFix>> search(const std::string& marked,
                                           const std::string& said = {}) {
        const auto tokenizer = test::FakeTokenizer::own();
        const FixGate::Options place{
            .before = "int size, count;\n", .marked = marked, .after = "}\n", .language = "c"};
        const Tokens prompt(kPrompt.begin(), kPrompt.end());
        return search_fix({.place = place, .prompt = prompt, .said = said},
                          *tokenizer,
                          [this](std::vector<JudgedPrompt> asked) { return judge(asked); });
    }
};

TEST_CASE("the likeliest edit is found, with its share of all that was judged", "[assist][fix]") {
    Reader reader{.lines = {{"if (size < count) {", 0.6},
                            {"if (size <= count) {", 0.2},
                            {"if (count < size) {", 0.1},
                            {"if (size >= count) {", 0.2}}};
    const auto found = reader.search("if (size <= count) {");
    REQUIRE(found);
    REQUIRE(*found);
    CHECK((*found)->line == "if (size < count) {");
    CHECK((*found)->probability == Approx(0.6 / 1.0));
    CHECK((*found)->probability_if_wrong == Approx(0.6 / 0.8));
    CHECK(reader.prompts <= 1 + kFixesJudgedMax);
}

TEST_CASE("what the model says is one of the candidates, if it is one sound line",
          "[assist][fix]") {
    Reader reader{.lines = {{"copy(count, size);", 0.8}, {"drop(size", 0.1}, {"drop(size);", 0.1}}};
    CHECK((*reader.search("drop(size);"))->line != "copy(count, size);");
    CHECK((*reader.search("drop(size);", "copy(count, size);"))->line == "copy(count, size);");
    CHECK((*reader.search("drop(size);", "copy(count, size);\nreturn;"))->line !=
          "copy(count, size);");
    Reader likes_faults{.lines = {{R"(copy("count, size);)", 0.9}, {"drop(size);", 0.1}}};
    CHECK((*likes_faults.search("drop(size);", R"(copy("count, size);)"))->line !=
          R"(copy("count, size);)");
}

TEST_CASE("a line that is likeliest as it is leaves every change unlikely", "[assist][fix]") {
    Reader reader{.lines = {{"x = size + 1;", 0.99}, {"x = size - 1;", 0.01}}};
    const auto found = reader.search("x = size + 1;");
    REQUIRE(*found);
    CHECK((*found)->line == "x = size - 1;");
    CHECK((*found)->probability == Approx(0.01));
    CHECK((*found)->probability_if_wrong == Approx(1.0));
}

TEST_CASE("what was not judged is not chosen", "[assist][fix]") {
    Reader deaf{.lines = {{"x = 1;", 1.0}}, .judged_max = 0};
    CHECK_FALSE(*deaf.search("x = 2;"));
    // The marked line is judged, its edits are not: but for those that need no more.
    Reader hurried{.lines = {{"x = 1;", 0.5}, {"x = 2;", 0.5}}, .judged_max = 1};
    const auto found = hurried.search("x = 2;");
    REQUIRE(*found);
    CHECK((*found)->line != "x = 1;");
    CHECK((*found)->probability < 0.5);
    CHECK_FALSE(*deaf.search(""));
    CHECK_FALSE(*deaf.search("two();\nlines();"));
}

}  // namespace
}  // namespace hearth::assist
