#include "core/formats/gguf.h"

#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/core/formats/gguf_bytes.h"

namespace hearth::formats {
namespace {

struct Refusal {
    const char* what;
    GgufBytes file;
    ErrorCode code;
    const char* text;  ///< part of the message
};

void check_refused(const Refusal& row) {
    INFO(row.what);
    const auto file = GgufFile::parse(row.file.bytes, "model.gguf");
    REQUIRE(!file);
    CHECK(file.error().code == row.code);
    CHECK_THAT(file.error().text, Catch::Contains(row.text));
    CHECK_THAT(file.error().text, Catch::StartsWith("cannot read model.gguf: "));
}

/// The header of a file with one entry of `key`, whose type and value follow.
GgufBytes entry(std::string_view key = "k") {
    return GgufBytes().header(0, 1).text(key);
}

GgufBytes one_tensor() {
    return GgufBytes().header(1, 0);
}

TEST_CASE("a file made from parts is found by name and keeps its memory", "[gguf]") {
    auto memory = std::make_shared<std::vector<float>>(6, 0.5F);
    const std::weak_ptr<const void> watched = memory;
    const auto bytes = std::as_bytes(std::span(*memory));
    auto file = GgufFile::from_parts("made",
                                     {{"z", std::uint64_t{7}}, {"a", std::string("text")}},
                                     {{"two", compute::Dtype::f32, {2, 2}, bytes.subspan(0, 16)},
                                      {"one", compute::Dtype::f32, {2}, bytes.subspan(16)}},
                                     std::move(memory));
    CHECK(file->path() == "made");
    CHECK(file->size_bytes() == 24);
    CHECK(file->find_integer("z") == 7);
    CHECK(*file->find_string("a") == "text");
    REQUIRE(file->find_tensor("one") != nullptr);
    CHECK(file->find_tensor("one")->bytes.size() == 8);
    CHECK(file->find_tensor("three") == nullptr);
    CHECK(file->tensors().front().name == "two");
    CHECK_FALSE(watched.expired());
    file.reset();
    CHECK(watched.expired());
}

}  // namespace

TEST_CASE("a small file gives its metadata and tensors", "[formats][gguf]") {
    const std::vector<std::byte> bytes = small_file();
    const auto parsed = GgufFile::parse(bytes, "model.gguf");
    REQUIRE(parsed);
    const GgufFile& file = **parsed;
    CHECK(file.path() == "model.gguf");
    CHECK(file.size_bytes() == bytes.size());
    CHECK(file.metadata().size() == 5);
    CHECK(file.metadata()[1].key == "a.name");
    CHECK(file.find_integer("a.count") == 7);
    CHECK(*file.find_string("a.name") == "caf\xC3\xA9");
    CHECK(file.find_bool("a.flag") == true);
    CHECK(file.find_array("a.words")->strings == std::vector<std::string>{"x", ""});
    CHECK(file.find_array("a.signs")->integers == std::vector<std::int64_t>{1, -1});

    REQUIRE(file.tensors().size() == 2);
    const compute::Tensor* const one = file.find_tensor("one");
    REQUIRE(one != nullptr);
    CHECK(one->shape == compute::Shape{2, 3});
    float values[6];
    REQUIRE(one->bytes.size() == sizeof values);
    std::memcpy(values, one->bytes.data(), sizeof values);
    CHECK(values[0] == 1.0F);
    CHECK(values[5] == -2.0F);
    const compute::Tensor* const two = file.find_tensor("two");
    REQUIRE(two != nullptr);
    CHECK(two->dtype == compute::Dtype::q8_0);
    CHECK(two->shape == compute::Shape{32});
    CHECK(two->bytes.front() == std::byte{0});
    CHECK(two->bytes.back() == std::byte{33});
}

TEST_CASE("a key that is absent or of another kind is empty, or an error with its name",
          "[formats][gguf]") {
    const std::vector<std::byte> bytes = small_file();
    const auto parsed = GgufFile::parse(bytes, "model.gguf");
    REQUIRE(parsed);
    const GgufFile& file = **parsed;
    CHECK(file.find("b") == nullptr);
    CHECK(file.find_tensor("three") == nullptr);
    CHECK(!file.find_integer("a.name"));
    CHECK(!file.find_real("a.count"));
    CHECK(!file.find_bool("a.count"));
    CHECK(file.find_string("a.count") == nullptr);
    CHECK(file.find_array("a.count") == nullptr);
    CHECK(file.integer("a.count").value() == 7);
    CHECK(file.string("a.name").value() == "caf\xC3\xA9");
    CHECK_THAT(file.integer("a.b").error().text, Catch::Contains("no integer 'a.b'"));
    CHECK_THAT(file.string("a.count").error().text, Catch::Contains("no string 'a.count'"));
}

TEST_CASE("integers keep their sign and convert when they fit", "[formats][gguf]") {
    struct Row {
        int type, width;
        std::uint64_t stored;
        std::optional<std::int64_t> expected;
    };
    const Row rows[] = {{0, 1, 0xFF, 255},
                        {1, 1, 0xFF, -1},
                        {2, 2, 0xFFFE, 65534},
                        {3, 2, 0xFFFE, -2},
                        {4, 4, 0xFFFFFFFF, 4294967295},
                        {5, 4, 0xFFFFFFFF, -1},
                        {10, 8, 1ULL << 62, 1LL << 62},
                        {10, 8, 1ULL << 63, std::nullopt},
                        {11, 8, ~0ULL, -1}};
    for (const Row& row : rows) {
        GgufBytes file = entry();
        file.u32(static_cast<std::uint64_t>(row.type)).number(row.stored, row.width);
        const auto parsed = GgufFile::parse(file.bytes, "x");
        REQUIRE(parsed);
        CHECK((*parsed)->find_integer("k") == row.expected);
    }
}

TEST_CASE("reals of both widths are doubles", "[formats][gguf]") {
    const auto narrow = GgufFile::parse(entry().u32(6).u32(0x3F800000).bytes, "x");
    CHECK((*narrow)->find_real("k") == 1.0);
    const auto wide = GgufFile::parse(entry().u32(12).u64(0x3FF8000000000000).bytes, "x");
    CHECK((*wide)->find_real("k") == 1.5);
}

TEST_CASE("version 2 is read like version 3", "[formats][gguf]") {
    CHECK(GgufFile::parse(GgufBytes().header(0, 0, 2).bytes, "x"));
}

TEST_CASE("a file's own alignment places its tensors", "[formats][gguf]") {
    GgufBytes file;
    file.header(1, 1).u32_entry("general.alignment", 256).info("t", {2}, 0, 256).pad(256);
    const std::size_t start = file.bytes.size();
    file.bytes.resize(start + 256);
    file.u32(0x3F800000).u32(0);
    const auto parsed = GgufFile::parse(file.bytes, "x");
    REQUIRE(parsed);
    CHECK((*parsed)->tensors()[0].bytes.data() == file.bytes.data() + start + 256);
}

TEST_CASE("a broken header is refused with its reason", "[formats][gguf]") {
    const std::uint64_t huge = ~0ULL;
    const Refusal rows[] = {
        {"empty", GgufBytes(), ErrorCode::corrupt, "ends inside the magic"},
        {"magic", GgufBytes().raw("GGML").u32(3).u64(0).u64(0), ErrorCode::corrupt, "'GGUF'"},
        {"version 1", GgufBytes().header(0, 0, 1), ErrorCode::unsupported, "version 1"},
        {"version 4", GgufBytes().header(0, 0, 4), ErrorCode::unsupported, "version 4"},
        {"big-endian", GgufBytes().header(0, 0, 3U << 24), ErrorCode::unsupported, "big-endian"},
        {"tensors", GgufBytes().header(huge, 0), ErrorCode::corrupt, "tensors, more than"},
        {"metadata", GgufBytes().header(0, huge), ErrorCode::corrupt, "keys, more than"},
    };
    for (const Refusal& row : rows) {
        check_refused(row);
    }
}

TEST_CASE("broken metadata is refused with its reason", "[formats][gguf]") {
    const std::uint64_t huge = ~0ULL;
    const ErrorCode corrupt = ErrorCode::corrupt;
    const Refusal rows[] = {
        {"key length", GgufBytes().header(0, 1).u64(huge).pad(64), corrupt, "a metadata key of"},
        {"key past end",
         GgufBytes().header(0, 1).u64(900).pad(64),
         corrupt,
         "inside a metadata key"},
        {"empty key", entry("").u32(7).u8(1).pad(64), corrupt, "empty"},
        {"NUL in key", entry(std::string_view("a\0b", 3)).u32(7).u8(1), corrupt, "control"},
        {"type 13", entry().u32(13).u64(0), corrupt, "metadata type 13,"},
        {"bool 2", entry().u32(7).u8(2), corrupt, "neither 0 nor 1"},
        {"string length", entry().u32(8).u64(huge), corrupt, "a string of"},
        {"string past end", entry().u32(8).u64(9).raw("short"), corrupt, "inside a string"},
        {"array of arrays", entry().u32(9).u32(9).u64(1).u32(4).u64(0), corrupt, "no plain type"},
        {"array of type 99", entry().u32(9).u32(99).u64(1).u64(0), corrupt, "no plain type"},
        {"array length", entry().u32(9).u32(4).u64(huge), corrupt, "more than the file"},
        {"array times width wraps", entry().u32(9).u32(4).u64(1ULL << 62), corrupt, "more than"},
        {"array of strings",
         entry().u32(9).u32(8).u64(2).u64(0).u64(3),
         corrupt,
         "inside a string"},
        {"u64 element", entry().u32(9).u32(10).u64(1).u64(huge), corrupt, "above 2^63"},
        {"twice",
         GgufBytes().header(0, 2).u32_entry("k", 1).u32_entry("k", 2),
         corrupt,
         "two meta"},
    };
    for (const Refusal& row : rows) {
        check_refused(row);
    }
    for (const std::uint64_t alignment : {0ULL, 1ULL, 4ULL, 24ULL, 33ULL, 1ULL << 21}) {
        GgufBytes file;
        file.header(0, 1).u32_entry("general.alignment", alignment);
        check_refused({"alignment", file, corrupt, "general.alignment"});
    }
    check_refused({"alignment of another type",
                   entry("general.alignment").u32(8).text("32"),
                   corrupt,
                   "general.alignment"});
}

TEST_CASE("broken tensors are refused with their name", "[formats][gguf]") {
    const ErrorCode corrupt = ErrorCode::corrupt;
    const std::string long_name(256, 'n');
    const std::uint64_t root = 1ULL << 32;
    const Refusal rows[] = {
        {"long name", one_tensor().info(long_name, {1}, 0, 0).pad().u32(0), corrupt, "tensor name"},
        {"no axis", one_tensor().info("t", {}, 0, 0).pad(), corrupt, "0 axes"},
        {"five axes", one_tensor().info("t", {1, 1, 1, 1, 1}, 0, 0).pad(), corrupt, "5 axes"},
        {"axis of 0", one_tensor().info("t", {4, 0}, 0, 0).pad(), corrupt, "axis of 0"},
        {"product wraps", one_tensor().info("t", {root, root, 4}, 0, 0).pad(), corrupt, "'t'"},
        {"negative axis", one_tensor().info("t", {~0ULL}, 0, 0).pad(), corrupt, "an axis of"},
        {"part of a block",
         one_tensor().info("t", {48}, 8, 0).pad().pad(128),
         corrupt,
         "rows of 48"},
        {"not aligned", one_tensor().info("t", {1}, 0, 4).pad().u64(0), corrupt, "not aligned"},
        {"offset wraps", one_tensor().info("t", {1}, 0, ~31ULL).pad().u32(0), corrupt, "end"},
        {"past the end", one_tensor().info("t", {3}, 0, 0).pad().u64(0), corrupt, "end"},
        {"type 23", one_tensor().info("t", {256}, 23, 0).pad(), ErrorCode::unsupported, "IQ4_XS"},
        {"type 77",
         one_tensor().info("t", {256}, 77, 0).pad(),
         ErrorCode::unsupported,
         "number 77"},
    };
    for (const Refusal& row : rows) {
        check_refused(row);
    }
    GgufBytes twice;
    twice.header(2, 0).info("t", {1}, 0, 0).info("t", {1}, 0, 32).pad().pad(64).u32(0).u32(0);
    check_refused({"twice", twice, corrupt, "two tensors 't'"});
    GgufBytes shared;
    shared.header(2, 0).info("t", {9}, 0, 0).info("u", {1}, 0, 32).pad();
    shared.bytes.resize(shared.bytes.size() + 64);
    check_refused({"overlap", shared, corrupt, "'t' and 'u' share bytes"});
}

TEST_CASE("a message shows names without control characters or endless text", "[formats][gguf]") {
    const auto file = GgufFile::parse(
        one_tensor().info("t\xE2\x80\xAE" + std::string(200, 'x'), {1}, 77, 0).pad().bytes, "x");
    REQUIRE(!file);
    CHECK_THAT(file.error().text, Catch::Contains("'t???xxx"));
    CHECK(file.error().text.size() < 400);
}

TEST_CASE("load maps a file and says what it cannot open", "[formats][gguf]") {
    const auto folder =
        std::filesystem::temp_directory_path() / ("hearth-gguf-test-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    const std::string path = (folder / "small.gguf").string();
    const std::vector<std::byte> bytes = small_file();
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    const auto loaded = GgufFile::load(path);
    REQUIRE(loaded);
    std::filesystem::remove_all(folder);
    CHECK((*loaded)->find_tensor("two")->bytes.back() == std::byte{33});

    CHECK(GgufFile::load(path).error().code == ErrorCode::not_found);
    CHECK(GgufFile::load("/").error().code == ErrorCode::io);
    CHECK(GgufFile::load("/dev/null").error().code == ErrorCode::io);
}

TEST_CASE("the shared reference models load", "[formats][gguf]") {
    const std::filesystem::path folder =
        std::filesystem::path(HEARTH_SOURCE_DIR) / "../shared/data/logits";
    if (!std::filesystem::exists(folder)) {
        std::cout << "skipped: no reference models in " << folder << "\n";
        return;
    }
    int count = 0;
    for (const auto& found : std::filesystem::directory_iterator(folder)) {
        if (found.path().extension() != ".gguf") continue;
        const auto file = GgufFile::load(found.path().string());
        INFO(found.path());
        REQUIRE(file);
        CHECK((*file)->find_array("tokenizer.ggml.tokens")->strings.size() == 32256);
        CHECK((*file)->find_tensor("token_embd.weight")->shape.dim(0) == 32256);
        ++count;
    }
    CHECK(count == 5);
}

}  // namespace hearth::formats
