// Every truncation and every single-byte change of a small file: refused or read, never a crash or
// a read outside the bytes (the asan preset sees those).
#include <algorithm>
#include <cstddef>
#include <random>
#include <variant>
#include <vector>

#include <catch2/catch.hpp>

#include "core/formats/gguf.h"
#include "tests/core/formats/gguf_bytes.h"

namespace hearth::formats {
namespace {

/// Reads all that a file offers; the sum keeps the reads alive.
std::size_t read_all(const GgufFile& file) {
    std::size_t sum = 0;
    for (const GgufFile::Entry& entry : file.metadata()) {
        sum += entry.key.size() + entry.value.index();
        sum += file.find(entry.key) == &entry.value ? 1U : 0U;
    }
    for (const compute::Tensor& tensor : file.tensors()) {
        CHECK(file.find_tensor(tensor.name) == &tensor);
        for (const std::byte byte : tensor.bytes) {
            sum += static_cast<std::size_t>(byte);
        }
    }
    return sum;
}

/// Parses a copy whose memory ends with the file, so that any read past it is seen.
bool is_read(const std::vector<std::byte>& bytes) {
    const auto copy = std::make_unique<std::byte[]>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), copy.get());
    const auto file = GgufFile::parse({copy.get(), bytes.size()}, "x");
    if (!file) {
        CHECK(!file.error().text.empty());
        return false;
    }
    return read_all(**file) > 0;
}

}  // namespace

TEST_CASE("every truncation is refused", "[formats][gguf]") {
    const std::vector<std::byte> whole = small_file();
    CHECK(is_read(whole));
    for (std::size_t size = 0; size < whole.size(); ++size) {
        INFO(size);
        CHECK(!is_read({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)}));
    }
}

TEST_CASE("every change of one byte is survived", "[formats][gguf]") {
    const std::vector<std::byte> whole = small_file();
    std::vector<std::byte> bytes = whole;
    int read_count = 0;
    for (std::size_t at = 0; at < whole.size(); ++at) {
        for (int value = 0; value < 256; ++value) {
            bytes[at] = static_cast<std::byte>(value);
            read_count += is_read(bytes) ? 1 : 0;
        }
        bytes[at] = whole[at];
    }
    CHECK(read_count > 0);
}

TEST_CASE("random damage in several places is survived", "[formats][gguf]") {
    const std::vector<std::byte> whole = small_file();
    std::mt19937 random(5);
    int read_count = 0;
    for (int trial = 0; trial < 20000; ++trial) {
        std::vector<std::byte> bytes = whole;
        for (unsigned i = 0; i < 1 + random() % 6; ++i) {
            // Mostly the values that break arithmetic.
            constexpr std::byte kNasty[] = {
                std::byte{0}, std::byte{1}, std::byte{0x7F}, std::byte{0x80}, std::byte{0xFF}};
            bytes[random() % bytes.size()] = kNasty[random() % std::size(kNasty)];
        }
        read_count += is_read(bytes) ? 1 : 0;
    }
    CHECK(read_count > 0);
}

}  // namespace hearth::formats
