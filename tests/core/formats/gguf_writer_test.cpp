#include "core/formats/gguf_writer.h"

#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace hearth::formats {
namespace {

std::vector<std::byte> bytes_of(std::size_t count) {
    std::vector<std::byte> bytes(count);
    for (std::size_t i = 0; i < count; ++i) {
        bytes[i] = static_cast<std::byte>(i * 7);
    }
    return bytes;
}

void add_metadata(GgufWriter& writer) {
    writer.add_bool("bool", true);
    writer.add_u32("u32", 4000000000U);
    writer.add_u64("u64", 1ULL << 40);
    writer.add_i32("i32", -5);
    writer.add_f32("f32", 0.25F);
    writer.add_string("string", "a\nb");
    writer.add_strings("strings", {"", "\xC4\xA0hello", std::string("\0", 1)});
    writer.add_i32s("i32s", {-1, 2});
    writer.add_f32s("f32s", {});
}

void check_metadata(const GgufFile& file) {
    CHECK(file.find_bool("bool") == true);
    CHECK(file.find_integer("u32") == 4000000000);
    CHECK(file.find_integer("u64") == std::int64_t{1} << 40);
    CHECK(file.find_integer("i32") == -5);
    CHECK(file.find_real("f32") == 0.25);
    CHECK(*file.find_string("string") == "a\nb");
    CHECK(file.find_array("strings")->strings ==
          std::vector<std::string>{"", "\xC4\xA0hello", std::string("\0", 1)});
    CHECK(file.find_array("i32s")->integers == std::vector<std::int64_t>{-1, 2});
    CHECK(file.find_array("f32s")->reals.empty());
}

}  // namespace

TEST_CASE("what is written reads the same", "[formats][gguf_writer]") {
    GgufWriter writer;
    add_metadata(writer);
    const std::vector<std::byte> f16 = bytes_of(2 * 3 * 5 * 2);
    const std::vector<std::byte> q4_k = bytes_of(2 * 144);
    const std::vector<std::byte> f32 = bytes_of(4);
    writer.add_tensor("cube", compute::Dtype::f16, {2, 3, 5}, f16);
    writer.add_tensor("blk.0.weight", compute::Dtype::q4_k, {2, 256}, q4_k);
    writer.add_tensor("last", compute::Dtype::f32, {1}, f32);
    const std::vector<std::byte> bytes = writer.to_bytes();
    const auto file = GgufFile::parse(bytes, "x");
    REQUIRE(file);
    check_metadata(**file);
    REQUIRE((*file)->tensors().size() == 3);
    const std::vector<std::byte>* const stored[] = {&f16, &q4_k, &f32};
    for (std::size_t i = 0; i < 3; ++i) {
        const compute::Tensor& tensor = (*file)->tensors()[i];
        CHECK(std::vector(tensor.bytes.begin(), tensor.bytes.end()) == *stored[i]);
    }
    CHECK((*file)->find_tensor("cube")->shape == compute::Shape{2, 3, 5});
    CHECK((*file)->find_tensor("blk.0.weight")->dtype == compute::Dtype::q4_k);
}

TEST_CASE("an empty writer gives a valid empty file", "[formats][gguf_writer]") {
    const std::vector<std::byte> bytes = GgufWriter().to_bytes();
    const auto file = GgufFile::parse(bytes, "x");
    REQUIRE(file);
    CHECK((*file)->metadata().empty());
    CHECK((*file)->tensors().empty());
}

TEST_CASE("write puts the same bytes on disk and leaves nothing beside them",
          "[formats][gguf_writer]") {
    const auto folder = std::filesystem::temp_directory_path() /
                        ("hearth-gguf-writer-test-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    const std::string path = (folder / "out.gguf").string();
    GgufWriter writer;
    add_metadata(writer);
    const std::vector<std::byte> data = bytes_of(36);
    writer.add_tensor("t", compute::Dtype::f32, {9}, data);
    REQUIRE(writer.write(path));
    REQUIRE(writer.write(path));  // replaces
    CHECK(std::filesystem::file_size(path) == writer.to_bytes().size());
    const auto file = GgufFile::load(path);
    REQUIRE(file);
    check_metadata(**file);
    CHECK(std::memcmp((*file)->find_tensor("t")->bytes.data(), data.data(), data.size()) == 0);
    CHECK(std::distance(std::filesystem::directory_iterator(folder), {}) == 1);

    const auto refused = writer.write((folder / "no" / "such.gguf").string());
    REQUIRE(!refused);
    CHECK(refused.error().code == ErrorCode::io);
    CHECK_THAT(refused.error().text, Catch::StartsWith("cannot write "));
    std::filesystem::remove_all(folder);
}

}  // namespace hearth::formats
