// Quantised blocks as small integers and their factors: what the portable dot product works on.
#pragma once

#include <cstdint>

#include "core/compute/blocks.h"

namespace hearth::cpu {

/// 32 weights: d * quants[i] + m.
struct Unpacked32 {
    float d;
    float m;
    std::int8_t quants[compute::kBlockElements];
};

/// 256 weights: d * scales[i / 16] * quants[i] - dmin * mins[i / 16].
struct Unpacked256 {
    float d;
    float dmin;
    std::int8_t scales[16];
    std::int8_t mins[16];
    std::int8_t quants[compute::kSuperBlockElements];
};

void unpack(const compute::BlockQ80& block, Unpacked32& out);
void unpack(const compute::BlockQ40& block, Unpacked32& out);
void unpack(const compute::BlockQ50& block, Unpacked32& out);
void unpack(const compute::BlockQ51& block, Unpacked32& out);
void unpack(const compute::BlockMxfp4& block, Unpacked32& out);
void unpack(const compute::BlockQ4K& block, Unpacked256& out);
void unpack(const compute::BlockQ5K& block, Unpacked256& out);
void unpack(const compute::BlockQ6K& block, Unpacked256& out);

}  // namespace hearth::cpu
