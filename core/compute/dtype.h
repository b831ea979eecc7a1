// Element types of tensors and how many bytes a row of them takes.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace hearth::compute {

/// The numbers are those of GGUF's tensor types, so that a file's number is cast after `to_dtype`
/// has checked it.
enum class Dtype : std::uint32_t {
    f32 = 0,
    f16 = 1,
    q4_0 = 2,
    q5_0 = 6,
    q5_1 = 7,
    q8_0 = 8,
    q4_k = 12,
    q5_k = 13,
    q6_k = 14,
    i32 = 26,
    bf16 = 30,
    mxfp4 = 39,
};

/// How a type packs its elements: `elements` weights share one block of `bytes` bytes.
struct DtypeTraits {
    std::string_view name;  ///< as GGUF tools print it: "Q4_K"
    std::int64_t elements;
    std::int64_t bytes;
    bool is_quantised;
};

const DtypeTraits& traits(Dtype dtype);

/// Empty for a number that hearth does not know.
std::optional<Dtype> to_dtype(std::uint32_t number);
std::optional<Dtype> parse_dtype(std::string_view name);

/// Bytes of `count` elements; `count` is a multiple of the block's elements.
std::int64_t row_bytes(Dtype dtype, std::int64_t count);

}  // namespace hearth::compute
