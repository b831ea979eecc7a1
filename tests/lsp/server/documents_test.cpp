#include "lsp/server/documents.h"

#include <catch2/catch.hpp>

namespace hearth::lsp {
namespace {

constexpr const char* kUri = "file:///w/a.cpp";

Documents make_open(const std::string& text) {
    Documents documents;
    REQUIRE(documents.open({kUri, "cpp", 1, text}));
    return documents;
}

TEST_CASE("several changes of one notification apply in order, each to the text before it",
          "[lsp][documents]") {
    Documents documents = make_open("one\ntwo\n");
    REQUIRE(documents.change({{kUri, 2},
                              {{Range{{0, 3}, {0, 3}}, "!\nnew"},
                               {Range{{2, 0}, {2, 3}}, "2"},
                               {Range{{0, 0}, {0, 0}}, "> "}}}));
    CHECK(documents.find(kUri)->text == "> one!\nnew\n2\n");
    CHECK(documents.find(kUri)->version == 2);
}

TEST_CASE("a change without a range replaces everything", "[lsp][documents]") {
    Documents documents = make_open("old");
    REQUIRE(documents.change({{kUri, 7}, {{std::nullopt, "new"}, {Range{{0, 3}, {0, 3}}, "er"}}}));
    CHECK(documents.find(kUri)->text == "newer");
}

TEST_CASE("a snapshot stays as it was", "[lsp][documents]") {
    Documents documents = make_open("old");
    const assist::DocumentRef before = documents.find(kUri);
    REQUIRE(documents.change({{kUri, 2}, {{std::nullopt, "new"}}}));
    CHECK(before->text == "old");
}

TEST_CASE("a change that makes no sense leaves the document alone", "[lsp][documents]") {
    Documents documents = make_open("abc\ndef\n");
    CHECK(
        documents.change({{kUri, 2}, {{Range{{0, 0}, {0, 1}}, "X"}, {Range{{1, 0}, {0, 0}}, "Y"}}})
            .error()
            .code == ErrorCode::invalid_argument);
    CHECK(documents.find(kUri)->text == "abc\ndef\n");
    CHECK(documents.change({{"file:///other", 2}, {}}).error().code == ErrorCode::not_found);
}

TEST_CASE("a change counts in the agreed encoding", "[lsp][documents]") {
    Documents documents = make_open("😀x");
    documents.set_encoding(PositionEncoding::utf16);
    REQUIRE(documents.change({{kUri, 2}, {{Range{{0, 2}, {0, 3}}, "y"}}}));
    documents.set_encoding(PositionEncoding::utf8);
    REQUIRE(documents.change({{kUri, 3}, {{Range{{0, 4}, {0, 5}}, "z"}}}));
    CHECK(documents.find(kUri)->text == "😀z");
}

TEST_CASE("other documents come most recently used first", "[lsp][documents]") {
    Documents documents;
    for (const char* uri : {"file:///1", "file:///2", "file:///3"}) {
        REQUIRE(documents.open({uri, "c", 1, ""}));
    }
    documents.touch("file:///1", 0);
    const std::vector<assist::DocumentRef> others = documents.others("file:///3");
    REQUIRE(others.size() == 2);
    CHECK(others[0]->uri == "file:///1");
    CHECK(others[1]->uri == "file:///2");
}

TEST_CASE("a path is told relative to the workspace, else by its last folders",
          "[lsp][documents]") {
    Documents documents;
    documents.set_roots({"file:///home/me/project"});
    CHECK(documents.display_path("file:///home/me/project/src/a%20b.cpp") == "src/a b.cpp");
    CHECK(documents.display_path("file:///home/me/project2/src/a.cpp") == "project2/src/a.cpp");
    CHECK(documents.display_path("file:///x.cpp") == "x.cpp");
    CHECK(documents.display_path("untitled:1") == "untitled:1");
    CHECK(documents.display_path("file:///home/me/project/a%0Ab.cpp") == "a_b.cpp");
    CHECK(documents.display_path("") == "");
}

TEST_CASE("too many open documents are refused by name", "[lsp][documents]") {
    Documents documents;
    for (std::size_t i = 0; i < kOpenDocumentsMax; ++i) {
        REQUIRE(documents.open({"file:///" + std::to_string(i), "c", 1, ""}));
    }
    CHECK(documents.open({"file:///one-more", "c", 1, ""}).error().code == ErrorCode::too_large);
    CHECK(documents.open({"file:///0", "c", 2, "again"}));
}

}  // namespace
}  // namespace hearth::lsp
