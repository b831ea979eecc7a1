// Holds the #include lines of every source against the table in docs/architecture.md, and the
// libraries against the rooms that may use them.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace hearth {
namespace {

namespace fs = std::filesystem;

using Rules = std::map<std::string, std::set<std::string>>;

const fs::path kRoot = HEARTH_SOURCE_DIR;

bool starts_with(const std::string& text, const std::string& begin) {
    return text.rfind(begin, 0) == 0;
}

/// The words between back quotes.
std::vector<std::string> back_quoted(const std::string& text) {
    std::vector<std::string> words;
    std::size_t at = 0;
    while ((at = text.find('`', at)) != std::string::npos) {
        const std::size_t end = text.find('`', at + 1);
        if (end == std::string::npos) break;
        words.push_back(text.substr(at + 1, end - at - 1));
        at = end + 1;
    }
    return words;
}

Rules read_rules() {
    std::ifstream file(kRoot / "docs/architecture.md");
    Rules rules;
    bool is_in_table = false;
    for (std::string line; std::getline(file, line);) {
        if (starts_with(line, "| folder")) is_in_table = true;
        if (!is_in_table || !starts_with(line, "| `")) continue;
        const std::vector<std::string> words = back_quoted(line);
        rules[words.front()] = std::set<std::string>(words.begin() + 1, words.end());
        if (line.find("everything") != std::string::npos) rules[words.front()].insert("*");
    }
    return rules;
}

/// The room of a path from the root: two levels where the table has them, else one. Empty: no room.
std::string room_of(const std::string& path, const Rules& rules) {
    const std::size_t first = path.find('/');
    if (first == std::string::npos) return {};
    const std::string two = path.substr(0, path.find('/', first + 1));
    if (rules.count(two) != 0) return two;
    const std::string one = path.substr(0, first);
    return rules.count(one) != 0 ? one : std::string();
}

struct Include {
    std::string file;    ///< from the root
    std::string target;  ///< from the root, or the library's header
    bool is_ours = false;
};

void read_file(const fs::path& path, std::vector<Include>& includes) {
    constexpr std::size_t kPrefixBytes = 10;  // `#include "` or `#include <`
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        const bool is_ours = starts_with(line, "#include \"");
        if (!is_ours && !starts_with(line, "#include <")) continue;
        const std::size_t end = line.find(is_ours ? '"' : '>', kPrefixBytes);
        std::string target = line.substr(kPrefixBytes, end - kPrefixBytes);
        if (is_ours && starts_with(target, "hearth/")) target.insert(0, "plugins/abi/");
        includes.push_back({fs::relative(path, kRoot).generic_string(), target, is_ours});
    }
}

std::vector<Include> read_includes() {
    const std::set<std::string> extensions = {".h", ".cpp", ".c", ".cu", ".cuh"};
    std::vector<Include> includes;
    for (const char* top : {"core", "kernels", "lsp", "plugins", "tests", "training"}) {
        for (const fs::directory_entry& entry : fs::recursive_directory_iterator(kRoot / top)) {
            if (extensions.count(entry.path().extension().string()) != 0)
                read_file(entry.path(), includes);
        }
    }
    return includes;
}

TEST_CASE("every include follows an arrow of the table", "[architecture]") {
    const Rules rules = read_rules();
    REQUIRE(rules.size() > 20);
    const std::vector<Include> includes = read_includes();
    REQUIRE(includes.size() > 200);
    for (const Include& include : includes) {
        if (!include.is_ours) continue;
        const std::string from = room_of(include.file, rules);
        const std::string to = room_of(include.target, rules);
        CAPTURE(include.file, include.target, from, to);
        REQUIRE_FALSE(from.empty());
        REQUIRE_FALSE(to.empty());
        const std::set<std::string>& allowed = rules.at(from);
        CHECK((from == to || allowed.count(to) != 0 || allowed.count("*") != 0));
    }
}

TEST_CASE("nobody includes the roof", "[architecture]") {
    for (const Include& include : read_includes()) {
        if (starts_with(include.file, "core/daemon/") || starts_with(include.file, "tests/"))
            continue;
        CAPTURE(include.file);
        CHECK_FALSE(starts_with(include.target, "core/daemon/"));
    }
}

/// Where a library's headers may be included.
struct Owner {
    std::string library;
    std::vector<std::string> anywhere;    ///< in headers and sources of these
    std::vector<std::string> in_sources;  ///< in .cpp files of these
};

TEST_CASE("a library appears only in the rooms that own it", "[architecture]") {
    const Owner owners[] = {
        {"boost/", {}, {"core/serve/", "core/daemon/", "lsp/transport/", "lsp/client/"}},
        {"nlohmann/",
         {"lsp/protocol/"},
         {"core/formats/",
          "core/tokenizer/",
          "core/assist/",
          "core/grammar/",
          "core/serve/",
          "core/cli/",
          "training/",
          "tests/"}},
        {"CLI/", {"core/cli/", "training/"}, {"core/daemon/"}},
        {"catch2/", {"tests/"}, {}},
        {"cuda", {"kernels/cuda/"}, {}},
    };
    for (const Include& include : read_includes()) {
        for (const Owner& owner : owners) {
            if (include.is_ours || !starts_with(include.target, owner.library)) continue;
            const auto is_in = [&](const std::vector<std::string>& rooms) {
                return std::any_of(rooms.begin(), rooms.end(), [&](const std::string& room) {
                    return starts_with(include.file, room);
                });
            };
            const bool is_source = fs::path(include.file).extension() == ".cpp";
            CAPTURE(include.file, include.target);
            CHECK((is_in(owner.anywhere) || (is_source && is_in(owner.in_sources))));
        }
    }
}

}  // namespace
}  // namespace hearth
