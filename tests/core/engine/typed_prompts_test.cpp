// What of a prompt is known while one types, edits and looks at another file, in either order of a
// prompt's halves.
#include <vector>

#include <catch2/catch.hpp>

#include "core/engine/kv_cache.h"

namespace hearth::engine {
namespace {

using Tokens = std::vector<std::int32_t>;

constexpr std::int32_t kPrefix = 200;
constexpr std::int32_t kSuffix = 60;

/// A file of which no token stands in another one.
struct File {
    explicit File(std::int32_t number) : number_(number) {
        for (std::int32_t i = 0; i < kPrefix; ++i) {
            prefix.push_back(1000 * number + i);
        }
        for (std::int32_t i = 0; i < kSuffix; ++i) {
            suffix.push_back(1000 * number + 500 + i);
        }
    }
    /// What stands so many tokens before the cursor becomes something else, or what it was.
    void edit(std::int32_t above) {
        std::int32_t& token = prefix[prefix.size() - static_cast<std::size_t>(above)];
        token = -token;
    }
    void type() { prefix.push_back(1000 * number_ + static_cast<std::int32_t>(prefix.size())); }
    [[nodiscard]] Tokens prompt(bool is_prefix_first) const {
        Tokens tokens = is_prefix_first ? prefix : suffix;
        const Tokens& last = is_prefix_first ? suffix : prefix;
        tokens.insert(tokens.end(), last.begin(), last.end());
        return tokens;
    }

    Tokens prefix, suffix;

  private:
    const std::int32_t number_;
};

enum class Act { open, type, edit };

struct Visit {
    Act act;
    std::int32_t file;
    std::int32_t above;         ///< of an edit
    std::int32_t prefix_first;  ///< tokens that are known then ...
    std::int32_t suffix_first;
};

struct Case {
    const char* name;
    std::int32_t block_count;
    std::vector<Visit> visits;
};

const std::vector<Case> kCases = {
    {"typing",
     64,
     {{Act::open, 1, 0, 0, 0}, {Act::type, 1, 0, 200, 260}, {Act::type, 1, 0, 201, 261}}},
    {"an edit above the cursor, a key, and the edit taken back",
     64,
     {{Act::open, 1, 0, 0, 0},
      {Act::edit, 1, 90, 110, 170},
      {Act::type, 1, 0, 200, 260},
      {Act::edit, 1, 91, 200, 260}}},
    {"an edit in the first line",
     64,
     {{Act::open, 1, 0, 0, 0}, {Act::edit, 1, 200, 0, 60}, {Act::type, 1, 0, 200, 260}}},
    {"another file and back",
     64,
     {{Act::open, 1, 0, 0, 0},
      {Act::open, 2, 0, 0, 0},
      {Act::open, 1, 0, 259, 259},
      {Act::type, 2, 0, 200, 260},
      {Act::type, 1, 0, 200, 260}}},
    {"back to a file that was edited before the other was looked at",
     64,
     {{Act::open, 1, 0, 0, 0},
      {Act::edit, 1, 50, 150, 210},
      {Act::open, 2, 0, 0, 0},
      {Act::type, 1, 0, 200, 260}}},
    {"another file that leaves room for a head of the first",
     24,
     {{Act::open, 1, 0, 0, 0}, {Act::open, 2, 0, 0, 0}, {Act::open, 1, 0, 112, 112}}},
};

TEST_CASE("what is known of a prompt after edits and looks at other files", "[engine][kv_cache]") {
    const bool is_prefix_first = GENERATE(false, true);
    for (const Case& item : kCases) {
        INFO(item.name << (is_prefix_first ? ", prefix first" : ", suffix first"));
        KvCache cache(item.block_count, [](std::int32_t, std::int32_t) {});
        std::vector<File> files = {File(1), File(2)};
        for (std::size_t i = 0; i < item.visits.size(); ++i) {
            const Visit& visit = item.visits[i];
            INFO("visit " << i);
            File& file = files[static_cast<std::size_t>(visit.file) - 1];
            if (visit.act == Act::type) file.type();
            if (visit.act == Act::edit) file.edit(visit.above);
            const Tokens prompt = file.prompt(is_prefix_first);
            BlockTable table;
            REQUIRE(cache.try_reserve(prompt, table));
            CHECK(table.computed_tokens ==
                  (is_prefix_first ? visit.prefix_first : visit.suffix_first));
            cache.commit(prompt, table, static_cast<std::int32_t>(prompt.size()));
            cache.release(prompt, table, Rows::keep);
        }
    }
}

}  // namespace
}  // namespace hearth::engine
