#include "core/compute/dtype.h"

#include <array>

#include "core/base/assert.h"

namespace hearth::compute {
namespace {

struct Entry {
    Dtype dtype;
    DtypeTraits traits;
};

constexpr std::array<Entry, 12> kEntries = {{
    {Dtype::f32, {"F32", 1, 4, false}},
    {Dtype::f16, {"F16", 1, 2, false}},
    {Dtype::q4_0, {"Q4_0", 32, 18, true}},
    {Dtype::q5_0, {"Q5_0", 32, 22, true}},
    {Dtype::q5_1, {"Q5_1", 32, 24, true}},
    {Dtype::q8_0, {"Q8_0", 32, 34, true}},
    {Dtype::q4_k, {"Q4_K", 256, 144, true}},
    {Dtype::q5_k, {"Q5_K", 256, 176, true}},
    {Dtype::q6_k, {"Q6_K", 256, 210, true}},
    {Dtype::i32, {"I32", 1, 4, false}},
    {Dtype::bf16, {"BF16", 1, 2, false}},
    {Dtype::mxfp4, {"MXFP4", 32, 17, true}},
}};

}  // namespace

const DtypeTraits& traits(Dtype dtype) {
    for (const Entry& entry : kEntries) {
        if (entry.dtype == dtype) return entry.traits;
    }
    assert_failed("a Dtype is one of its enumerators", __FILE__, __LINE__);
}

std::optional<Dtype> to_dtype(std::uint32_t number) {
    for (const Entry& entry : kEntries) {
        if (static_cast<std::uint32_t>(entry.dtype) == number) return entry.dtype;
    }
    return std::nullopt;
}

std::optional<Dtype> parse_dtype(std::string_view name) {
    for (const Entry& entry : kEntries) {
        if (entry.traits.name == name) return entry.dtype;
    }
    return std::nullopt;
}

std::int64_t row_bytes(Dtype dtype, std::int64_t count) {
    const DtypeTraits& layout = traits(dtype);
    HEARTH_ASSERT(count % layout.elements == 0);
    return count / layout.elements * layout.bytes;
}

}  // namespace hearth::compute
