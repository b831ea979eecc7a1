// Builds GGUF bytes by hand, right or wrong, without the code under test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace hearth::formats {

/// Each call appends; numbers are little-endian.
struct GgufBytes {
    std::vector<std::byte> bytes;

    GgufBytes& number(std::uint64_t value, int width) {
        for (int i = 0; i < width; ++i) {
            bytes.push_back(static_cast<std::byte>(value >> (8 * i)));
        }
        return *this;
    }
    GgufBytes& u8(std::uint64_t value) { return number(value, 1); }
    GgufBytes& u32(std::uint64_t value) { return number(value, 4); }
    GgufBytes& u64(std::uint64_t value) { return number(value, 8); }
    GgufBytes& raw(std::string_view text) {
        for (const char c : text) {
            bytes.push_back(static_cast<std::byte>(c));
        }
        return *this;
    }
    GgufBytes& text(std::string_view text) { return u64(text.size()).raw(text); }
    GgufBytes& header(std::uint64_t tensors, std::uint64_t metadata, std::uint64_t version = 3) {
        return raw("GGUF").u32(version).u64(tensors).u64(metadata);
    }
    /// One key of type u32.
    GgufBytes& u32_entry(std::string_view key, std::uint64_t value) {
        return text(key).u32(4).u32(value);
    }
    /// A tensor info with axes as the file lists them, contiguous first.
    GgufBytes& info(std::string_view name,
                    const std::vector<std::uint64_t>& axes,
                    std::uint64_t type,
                    std::uint64_t offset) {
        text(name).u32(axes.size());
        for (const std::uint64_t axis : axes) {
            u64(axis);
        }
        return u32(type).u64(offset);
    }
    GgufBytes& pad(std::size_t alignment = 32) {
        while (bytes.size() % alignment != 0) {
            u8(0);
        }
        return *this;
    }
};

/// One key of every kind of value, one array, two tensors: F32 (2, 3) and Q8_0 (1, 32).
inline std::vector<std::byte> small_file() {
    GgufBytes file;
    file.header(2, 5).u32_entry("a.count", 7);
    file.text("a.name").u32(8).text("caf\xC3\xA9");
    file.text("a.flag").u32(7).u8(1);
    file.text("a.words").u32(9).u32(8).u64(2).text("x").text("");
    file.text("a.signs").u32(9).u32(5).u64(2).u32(1).u32(0xFFFFFFFF);
    file.info("one", {3, 2}, 0, 0).info("two", {32}, 8, 32).pad();
    for (const std::uint32_t bits : {0x3F800000U, 0U, 0U, 0U, 0U, 0xC0000000U}) {
        file.u32(bits);
    }
    file.pad();
    for (int i = 0; i < 34; ++i) {
        file.u8(static_cast<std::uint64_t>(i));
    }
    return file.bytes;
}

}  // namespace hearth::formats
