// The quantised blocks as they lie in a GGUF file: little-endian, packed, no alignment beyond two
// bytes. A weight is d * (q - offset), or d * scale * q - dmin * min for the K types; MXFP4 has a
// power of two for d and a small float for q. Nibbles: the low half comes first.
#pragma once

#include <cstdint>

namespace hearth::compute {

using HalfBits = std::uint16_t;  ///< an IEEE half as its bits; see half.h

inline constexpr int kBlockElements = 32;  ///< weights per block of Q4_0, Q5_0, Q5_1, Q8_0, MXFP4
inline constexpr int kSuperBlockElements = 256;  ///< weights per block of Q4_K, Q5_K, Q6_K
inline constexpr int kScaleBytes =
    12;  ///< eight 6-bit scales and eight 6-bit minima of Q4_K and Q5_K

struct BlockQ40 {
    HalfBits d;
    std::uint8_t quants[16];  ///< element i in the low nibble of byte i, element i+16 in the high
                              ///< one; offset 8
};
struct BlockQ50 {
    HalfBits d;
    std::uint8_t high[4];  ///< bit i is bit 4 of element i
    std::uint8_t quants[16];
};
struct BlockQ51 {
    HalfBits d;
    HalfBits m;
    std::uint8_t high[4];
    std::uint8_t quants[16];
};
struct BlockQ80 {
    HalfBits d;
    std::int8_t quants[32];
};
/// Open Compute Project, Microscaling Formats (MX) Specification 1.0, section 5.
struct BlockMxfp4 {
    std::uint8_t exponent;    ///< E8M0: the scale is 2^(exponent - 127)
    std::uint8_t quants[16];  ///< E2M1 codes, placed as in Q4_0
};
struct BlockQ4K {
    HalfBits d;
    HalfBits dmin;
    std::uint8_t scales[kScaleBytes];
    std::uint8_t quants[128];  ///< four runs of 32 bytes: low nibbles are 32 elements, high nibbles
                               ///< the next 32
};
struct BlockQ5K {
    HalfBits d;
    HalfBits dmin;
    std::uint8_t scales[kScaleBytes];
    std::uint8_t high[32];  ///< bit j of byte i is bit 4 of element 32*j + i
    std::uint8_t quants[128];
};
struct BlockQ6K {
    std::uint8_t low[128];
    std::uint8_t high[64];
    std::int8_t scales[16];  ///< one per 16 elements
    HalfBits d;
};

static_assert(sizeof(BlockQ40) == 18 && sizeof(BlockQ50) == 22 && sizeof(BlockQ51) == 24);
static_assert(sizeof(BlockQ80) == 34 && sizeof(BlockQ4K) == 144 && sizeof(BlockQ5K) == 176);
static_assert(sizeof(BlockQ6K) == 210 && sizeof(BlockMxfp4) == 17);

/// Twice the value of each E2M1 code: then all are whole.
inline constexpr std::int8_t kMxfp4Doubled[16] = {
    0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

}  // namespace hearth::compute
