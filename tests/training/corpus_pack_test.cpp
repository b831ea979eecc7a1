#include "training/corpus/corpus_pack.h"

#include <string>

#include <catch2/catch.hpp>

namespace {

using hearth::training::parse_corpus_pack;

const std::string kPack =
    "train\tc\tzlib\tsrc/a.c\t6\nint a;\n"
    "heldout\tpython\tpkg\tb.py\t3\nx\n\n\n";

TEST_CASE("a corpus pack holds files with what is known of them", "[training][corpus]") {
    const auto files = parse_corpus_pack(kPack);
    REQUIRE(files);
    REQUIRE(files->size() == 2);
    CHECK((*files)[0].language == "c");
    CHECK((*files)[0].package == "zlib");
    CHECK((*files)[0].path == "src/a.c");
    CHECK((*files)[0].text == "int a;");
    CHECK_FALSE((*files)[0].is_heldout);
    CHECK((*files)[1].text == "x\n\n");
    CHECK((*files)[1].is_heldout);
    CHECK(parse_corpus_pack("")->empty());
}

TEST_CASE("a corpus pack that is cut short is refused wherever it is cut", "[training][corpus]") {
    const std::size_t first_record = kPack.find("heldout");
    for (std::size_t size = 1; size < kPack.size(); ++size) {
        INFO(size);
        CHECK(parse_corpus_pack(kPack.substr(0, size)).has_value() == (size == first_record));
    }
}

TEST_CASE("a corpus pack with a wrong head is refused", "[training][corpus]") {
    for (const char* pack : {"train\tc\tp\ta.c\n",
                             "train\tc\tp\ta.c\t1\t1\nx\n",
                             "test\tc\tp\ta.c\t1\nx\n",
                             "train\tc\tp\ta.c\t-1\nx\n",
                             "train\tc\tp\ta.c\t1x\nx\n",
                             "train\tc\tp\ta.c\t2\nx\n",
                             "train\tc\tp\ta.c\t1\nxy\n",
                             "train\tc\tp\ta.c\t99999999999999999999\nx\n"}) {
        INFO(pack);
        CHECK_FALSE(parse_corpus_pack(pack));
    }
}

}  // namespace
