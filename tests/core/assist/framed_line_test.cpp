#include "core/assist/framed_line.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/core/assist/fakes.h"

namespace hearth::assist {
namespace {

std::vector<CopyCandidate> find(const std::string& marked,
                                const std::vector<std::string>& others = {},
                                const CopyLimits& limits = {},
                                const CancelToken& cancel = {}) {
    const test::MarkedText place(marked);
    const std::vector<std::string_view> views(others.begin(), others.end());
    return find_framed_lines(
        {.before = place.before(), .after = place.after(), .others = views}, limits, cancel);
}

using Texts = std::vector<std::string>;

Texts texts(const std::vector<CopyCandidate>& candidates) {
    Texts out;
    for (const CopyCandidate& candidate : candidates) {
        CHECK(candidate.match_characters == 0);
        out.push_back(candidate.text);
    }
    return out;
}

TEST_CASE("what stands elsewhere above the line below is a copy", "[assist][framed_line]") {
    CHECK(texts(find("a();\nend();\n^\nend();\n")) == Texts{"a();"});
    CHECK(texts(find("^\nend();\na();\nend();\n")) == Texts{"a();"});
    CHECK(texts(find("^\nend();", {"x\na();\nend();", "b();\r\nend();\r\n"})) ==
          Texts{"a();", "b();"});
    // Blank lines do not count, nor does how deep it stands where that is known already.
    CHECK(texts(find("    a();\n\n    end();\n  ^\n\n\n  end();\n")) == Texts{"a();"});
    CHECK(texts(find("  a();\n  end();\n^\n  end();\n")) == Texts{"  a();"});
    CHECK(texts(find("  a();\n  end();\n^\nend();\n")) == Texts{});
    CHECK(texts(find("    a();\n  end();\n ^\n  end();\n")) == Texts{"   a();"});
    CHECK(texts(find("a();\n  end();\n ^\n  end();\n")) == Texts{"a();"});
    // The rest of a line that is begun.
    CHECK(texts(find("  int a = 1;\nend();\nb = 2;\nend();\n int a = ^\nend();\n")) == Texts{"1;"});
    CHECK(texts(find("  int a =\nend();\n int a =^\nend();\n")) == Texts{});
}

TEST_CASE("nothing is a copy where nothing is alike", "[assist][framed_line]") {
    for (const char* const place : {"a();\nend();\n^",
                                    "a();\nend();\n^\n \n",
                                    "a();\nend();\n^)\nend();\n",
                                    "a();\nend();\n^\nend\n",
                                    "a();\nend();\n^\nother();\n",
                                    "^\nend();\n",
                                    "end();\n\n^\nend();\n",
                                    "^"}) {
        INFO(place);
        CHECK(find(place).empty());
    }
}

TEST_CASE("most lines alike come first, then what most places agree on", "[assist][framed_line]") {
    const std::string below = "\nend();\nnext();\n";
    const auto found = find("one();\na();\nend();\nb();" + below +
                            "c();\nend();\na();\nend();\none();\n^" + below);
    REQUIRE(texts(found) == Texts{"a();", "b();", "c();"});
    CHECK(found[0].frame.lines == 2);  // end() below, one() above
    CHECK(found[0].frame.agreeing == 2);
    CHECK(found[0].frame.disagreeing == 2);
    CHECK(found[1].frame.lines == 2);
    CHECK(found[1].frame.agreeing == 1);
    CHECK(found[1].frame.disagreeing == 3);
    CHECK(found[2].frame.lines == 1);
    // Places with less than half as many lines alike say nothing about the best.
    const std::string long_below = below + "third();\nfourth();\n";
    const auto sure = find("a();" + long_below + "b();\nend();\n^" + long_below);
    REQUIRE(texts(sure) == Texts{"a();", "b();"});
    CHECK(sure[0].frame.lines == 4);
    CHECK(sure[0].frame.disagreeing == 0);
    CHECK(sure[1].frame.disagreeing == 1);
}

TEST_CASE("limits bound what is searched and offered, and cancel ends it",
          "[assist][framed_line]") {
    std::string many;
    for (int i = 0; i < 5000; ++i) {
        many += "line" + std::to_string(i) + "();\nend();\n";
    }
    const std::string place = "^\nend();\n";
    CHECK(find(place, {many}).size() == CopyLimits().candidates_max);
    // So many places are looked at, the first ones.
    const std::string twice = "twice();\nend();\ntwice();\nend();\n";
    CHECK(find(place, {twice + many})[0].text == "twice();");
    CHECK(find(place, {many + twice})[0].text == "line0();");
    CHECK(find(place, {many}, {.searched_bytes_max = 10}).empty());
    CHECK(texts(find(many + place, {}, {.searched_bytes_max = 30})) == Texts{"line4999();"});
    CHECK(find(place, {many}, {.line_bytes_max = 6}).empty());
    CancelSource cancel;
    cancel.cancel();
    CHECK(find(place, {many}, {}, cancel.token()).empty());
}

}  // namespace
}  // namespace hearth::assist
