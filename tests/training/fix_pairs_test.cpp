#include "training/samples/fix_pairs.h"

#include <map>
#include <set>
#include <string>

#include <catch2/catch.hpp>

namespace {

using namespace hearth::training;

/// All lines that many tries of one mutation make.
std::set<std::string> outcomes(std::string_view line, Mutation mutation) {
    std::set<std::string> lines;
    const std::vector<std::string_view> names = {"other"};
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        Random random(seed);
        if (const auto changed = mutate(line, mutation, names, random)) lines.insert(*changed);
    }
    return lines;
}

using Lines = std::set<std::string>;

TEST_CASE("each mutation makes the bugs of its kind and no others", "[training][fix]") {
    const struct {
        const char* line;
        Mutation mutation;
        Lines lines;
    } cases[] = {
        {"return value;", Mutation::other_identifier, {"return other;"}},
        {"return other;", Mutation::other_identifier, {}},
        {"}", Mutation::other_identifier, {}},
        {"Type name;", Mutation::other_identifier, {"Type other;"}},
        {"print(\"value\")", Mutation::other_identifier, {"other(\"value\")"}},
        {"total = 1  // value", Mutation::other_identifier, {"other = 1  // value"}},
        {"name = 1",
         Mutation::typo,
         {"nme = 1", "nae = 1", "naame = 1", "namme = 1", "nmae = 1", "naem = 1"}},
        {"f(a)", Mutation::bracket, {"f(a", "f(a))"}},
        {"f(a", Mutation::bracket, {}},
        {"x = \"a\"", Mutation::quote, {"x = a\"", "x = \"a"}},
        {"x = a[9]", Mutation::number, {"x = a[8]", "x = a[10]"}},
        {"x = 0;", Mutation::number, {"x = 1;"}},
        {"x1 = 1.5 + 0x1F", Mutation::number, {}},
        {"if (a) {", Mutation::condition, {"if (!a) {"}},
        {"if (!a) {", Mutation::condition, {"if (a) {"}},
        {"if a:", Mutation::condition, {"if not a:"}},
        {"if a {", Mutation::condition, {"if !a {"}},
        {"a = b", Mutation::condition, {}},
        {"if a <= b:", Mutation::comparison, {"if a < b:"}},
        {"vector<int> a;", Mutation::comparison, {}},
        {"    return a;", Mutation::dropped_return, {"    a;"}},
        {"returned = a", Mutation::dropped_return, {}},
        {"if p != nullptr", Mutation::null_check, {"if p == nullptr"}},
        {"if a is not None:", Mutation::null_check, {"if a is None:"}},
        {"f(a, b);", Mutation::swapped_arguments, {"f(b, a);"}},
        {"f(a, a);", Mutation::swapped_arguments, {}},
        {"f(a, b, c);", Mutation::swapped_arguments, {}},
        {"if (a, b)", Mutation::swapped_arguments, {}},
        {"a = b + c", Mutation::arithmetic, {"a = b - c"}},
        {"x = true;", Mutation::boolean, {"x = false;"}},
        {"x = is_true;", Mutation::boolean, {}},
        {"a && b", Mutation::and_or, {"a || b"}},
        {"a and b", Mutation::and_or, {"a or b"}},
        {"sand or wand", Mutation::and_or, {"sand and wand"}},
        {"as it is", Mutation::none, {"as it is"}},
    };
    for (const auto& [line, mutation, lines] : cases) {
        INFO(to_string(mutation) << ": " << line);
        CHECK(outcomes(line, mutation) == lines);
    }
}

const std::string kText =
    "#include <vector>\n"
    "\n"
    "// Sums up.\n"
    "int sum(const std::vector<int>& values) {\n"
    "    int total = 0;\n"
    "    for (int value : values) {\n"
    "        total = total + value;\n"
    "    }\n"
    "    return total;\n"
    "}";

TEST_CASE("a fix pair is a window with one line changed", "[training][fix]") {
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
        Random random(seed);
        const Mutation mutation = pick_mutation(random);
        const auto pair = make_fix_pair(kText, mutation, random);
        if (!pair) continue;
        INFO(to_string(mutation));
        CHECK(pair->mutation == mutation);
        CHECK((pair->bad_line == pair->good_line) == (mutation == Mutation::none));
        CHECK(pair->bad_line.find('\n') == std::string::npos);
        std::string whole(pair->before);
        whole += pair->good_line;
        if (!pair->after.empty()) whole += '\n';
        whole += pair->after;
        CHECK(kText.find(whole) != std::string::npos);
        CHECK((pair->before.empty() || pair->before.ends_with('\n')));
        CHECK(pair->good_line.find("Sums up") == std::string_view::npos);
    }
}

TEST_CASE("a text without code lines has no fix pair", "[training][fix]") {
    Random random(1);
    CHECK_FALSE(make_fix_pair("// only\n// comments here\n", Mutation::typo, random));
    CHECK_FALSE(make_fix_pair("{\n}\n", Mutation::bracket, random));
    CHECK_FALSE(make_fix_pair("value = call(here)\n", Mutation::boolean, random));
}

TEST_CASE("one line in five is left as it is, the kinds of bug are equally frequent",
          "[training][fix]") {
    Random random(2);
    std::map<Mutation, int> counts;
    for (int i = 0; i < 13000; ++i) {
        ++counts[pick_mutation(random)];
    }
    CHECK(counts.size() == kMutationCount + 1);
    CHECK(counts[Mutation::none] == Approx(2600).margin(200));
    for (const auto& [mutation, count] : counts) {
        if (mutation != Mutation::none) CHECK(count == Approx(800).margin(120));
    }
}

}  // namespace
