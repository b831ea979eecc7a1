// The numbers that reader and writer of GGUF share. Private to core/formats.
#pragma once

#include <cstdint>

namespace hearth::formats {

inline constexpr std::uint32_t kGgufMagic = 0x46554747;  ///< "GGUF" in the order of the file
inline constexpr std::uint32_t kGgufVersion = 3;

/// Types of metadata values, numbered as in the file.
enum class GgufType : std::uint32_t {
    u8 = 0,
    i8 = 1,
    u16 = 2,
    i16 = 3,
    u32 = 4,
    i32 = 5,
    f32 = 6,
    boolean = 7,
    string = 8,
    array = 9,
    u64 = 10,
    i64 = 11,
    f64 = 12,
};

/// The least bytes that one element of an array takes; 0 where a type cannot be an element (an
/// array, a number that is no type).
constexpr std::uint64_t bytes_min(GgufType type) {
    switch (type) {
        case GgufType::u8:
        case GgufType::i8:
        case GgufType::boolean:
            return 1;
        case GgufType::u16:
        case GgufType::i16:
            return 2;
        case GgufType::u32:
        case GgufType::i32:
        case GgufType::f32:
            return 4;
        case GgufType::u64:
        case GgufType::i64:
        case GgufType::f64:
        case GgufType::string:
            return 8;
        case GgufType::array:
            break;
    }
    return 0;
}

}  // namespace hearth::formats
