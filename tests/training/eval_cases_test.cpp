#include "training/samples/eval_cases.h"

#include <algorithm>
#include <map>
#include <sstream>
#include <string>

#include <catch2/catch.hpp>

namespace {

using namespace hearth::training;

std::string code_text() {
    std::string text;
    for (int i = 0; i < 60; ++i) {
        const std::string n = std::to_string(i);
        text += "int first_" + n +
                "(int left, int right) {\n    if (left < 4) return combine(left, right);\n";
        text += "    const bool is_done = true && left != 3;\n    const char* text = \"name\";\n";
        text +=
            "    if (pointer != nullptr) return left + right;\n    return left * 2;\n}\n\n// "
            "Comment.\n";
    }
    return text;
}

/// The value of a text field of one JSON line, escapes left as they are.
std::string field(const std::string& line, const std::string& name) {
    const std::string start = "\"" + name + "\": \"";
    const std::size_t begin = line.find(start) + start.size();
    std::size_t end = begin;
    while (line[end] != '"') {
        end += line[end] == '\\' ? 2 : 1;
    }
    return line.substr(begin, end - begin);
}

std::map<std::string, std::vector<std::string>> by_kind(const std::string& lines) {
    std::map<std::string, std::vector<std::string>> found;
    std::istringstream stream(lines);
    for (std::string line; std::getline(stream, line);) {
        found[field(line, "kind")].push_back(line);
    }
    return found;
}

TEST_CASE("line cases come in four kinds, each with its own target", "[training][cases]") {
    const CorpusFile file{.language = "cpp", .package = "p", .path = "a.cpp", .text = code_text()};
    Random random(1);
    std::ostringstream stream;
    write_line_cases({&file}, 40, random, stream);
    auto kinds = by_kind(stream.str());
    REQUIRE(kinds.size() == 4);
    for (const auto& [kind, lines] : kinds) {
        INFO(kind);
        CHECK(lines.size() == 40);
    }
    for (const std::string& line : kinds["whole_line"]) {
        CHECK(field(line, "target").find("\\n") == std::string::npos);
        CHECK(field(line, "suffix").starts_with("\\n"));
    }
    for (const std::string& line : kinds["argument_list"]) {
        CHECK(field(line, "prefix").ends_with("("));
        CHECK(field(line, "suffix").starts_with(")"));
    }
    for (const std::string& line : kinds["block"]) {
        const std::string target = field(line, "target");
        std::size_t ends = 0;
        for (std::size_t at = target.find("\\n"); at != std::string::npos;
             at = target.find("\\n", at + 1)) {
            ++ends;
        }
        CHECK(ends >= 1);
        CHECK(ends <= 4);
        CHECK(target.find("\\n\\n") == std::string::npos);
    }
}

TEST_CASE("explain cases are functions and their sentences, up to a count", "[training][cases]") {
    std::string text;
    for (int i = 0; i < 30; ++i) {
        text += "/// Counts the open files of one user.\nint count_" + std::to_string(i) +
                "(int user) {\n    int files = open_files(user);\n    return files;\n}\n\n";
    }
    const CorpusFile file{.language = "cpp", .package = "p", .path = "a.cpp", .text = text};
    for (const std::size_t count : {std::size_t{5}, std::size_t{100}}) {
        Random random(1);
        std::ostringstream stream;
        write_explain_cases({&file}, count, random, stream);
        std::istringstream lines(stream.str());
        std::size_t written = 0;
        for (std::string line; std::getline(lines, line); ++written) {
            CHECK(field(line, "sentence") == "Counts the open files of one user.");
            CHECK(field(line, "code").starts_with("int count_"));
            CHECK(field(line, "code").find("Counts") == std::string::npos);
        }
        CHECK(written == std::min(count, std::size_t{30}));
    }
}

TEST_CASE("fix cases hold every mutation alike and a sound line for each", "[training][cases]") {
    const CorpusFile file{.language = "cpp", .package = "p", .path = "a.cpp", .text = code_text()};
    Random random(1);
    std::ostringstream stream;
    write_fix_cases({&file}, 130, random, stream);
    auto kinds = by_kind(stream.str());
    CHECK(kinds.size() == 14);
    CHECK(kinds["none"].size() == 130);
    for (const auto& [kind, lines] : kinds) {
        INFO(kind);
        if (kind != "none") CHECK(lines.size() == 10);
        for (const std::string& line : lines) {
            CHECK((field(line, "bad_line") == field(line, "target")) == (kind == "none"));
        }
    }
}

TEST_CASE("held-out files are of two halves by their paths, and their cases say which",
          "[training][cases]") {
    std::map<std::string_view, std::size_t> count;
    for (int i = 0; i < 200; ++i) {
        CorpusFile file{.language = "cpp",
                        .package = "p",
                        .path = "src/a" + std::to_string(i),
                        .text = code_text(),
                        .is_heldout = true};
        ++count[split_of(file)];
        if (i > 5) continue;
        Random random(1);
        std::ostringstream stream;
        write_line_cases({&file}, 2, random, stream);
        write_fix_cases({&file}, 2, random, stream);
        std::istringstream lines(stream.str());
        for (std::string line; std::getline(lines, line);) {
            CHECK(field(line, "split") == split_of(file));
        }
        file.is_heldout = false;
        std::ostringstream of_training;
        write_line_cases({&file}, 2, random, of_training);
        CHECK(of_training.str().find("split") == std::string::npos);
    }
    CHECK(count.size() == 2);
    CHECK(count["tuning"] > 70);
    CHECK(count["report"] > 70);
}

}  // namespace
