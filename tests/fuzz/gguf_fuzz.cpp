// Any bytes as a GGUF file: what is accepted can be looked up, lies inside the file and
// dequantises.
#include <cstring>

#include "core/compute/dequantize.h"
#include "core/formats/gguf.h"
#include "core/formats/gguf_writer.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace hearth;

constexpr std::int64_t kElementsMax = 1 << 16;  // of a tensor that is dequantised

void check_metadata(const formats::GgufFile& file) {
    for (const formats::GgufFile::Entry& entry : file.metadata()) {
        HEARTH_ASSERT(file.find(entry.key) == &entry.value);
        const int kinds = static_cast<int>(file.find_integer(entry.key).has_value()) +
                          static_cast<int>(file.find_real(entry.key).has_value()) +
                          static_cast<int>(file.find_bool(entry.key).has_value()) +
                          static_cast<int>(file.find_string(entry.key) != nullptr) +
                          static_cast<int>(file.find_array(entry.key) != nullptr);
        const auto* const wide = std::get_if<std::uint64_t>(&entry.value);
        HEARTH_ASSERT(kinds == (wide != nullptr && *wide >> 63 != 0 ? 0 : 1));
        if (const formats::GgufArray* const array = file.find_array(entry.key)) {
            const int filled = static_cast<int>(!array->integers.empty()) +
                               static_cast<int>(!array->reals.empty()) +
                               static_cast<int>(!array->strings.empty());
            HEARTH_ASSERT(filled <= 1);
        }
    }
}

void check_tensors(const formats::GgufFile& file, std::span<const std::byte> bytes) {
    std::size_t bytes_of_all = 0;
    for (const compute::Tensor& tensor : file.tensors()) {
        HEARTH_ASSERT(file.find_tensor(tensor.name) == &tensor);
        const std::int64_t elements = tensor.shape.elements();
        HEARTH_ASSERT(elements > 0);
        const auto needed = static_cast<std::size_t>(compute::row_bytes(tensor.dtype, elements));
        HEARTH_ASSERT(tensor.bytes.size() == needed);
        const auto offset = static_cast<std::size_t>(tensor.bytes.data() - bytes.data());
        HEARTH_ASSERT(offset <= bytes.size() && needed <= bytes.size() - offset);
        bytes_of_all += needed;
        if (tensor.dtype == compute::Dtype::i32 || elements > kElementsMax) continue;
        std::vector<float> values(static_cast<std::size_t>(elements));
        compute::dequantize(tensor.dtype, tensor.bytes, values);
    }
    HEARTH_ASSERT(bytes_of_all <= bytes.size());  // no two share bytes
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span(data, size));
    const auto file = formats::GgufFile::parse(bytes, "fuzz.gguf");
    if (!file) {
        HEARTH_ASSERT(!file.error().text.empty());
        return 0;
    }
    check_metadata(**file);
    check_tensors(**file, bytes);
    return 0;
}

std::vector<std::string> fuzz::seeds() {
    formats::GgufWriter keys;
    keys.add_bool("a.flag", true);
    keys.add_u32("a.count", 7);
    keys.add_u64("a.size", std::uint64_t{1} << 40);
    keys.add_i32("a.sign", -1);
    keys.add_f32("a.real", 0.5F);
    keys.add_string("a.name", "caf\xC3\xA9");
    keys.add_strings("a.words", {"x", "", "yz"});
    keys.add_i32s("a.numbers", {1, -2, 3});
    keys.add_f32s("a.reals", {1.0F, -2.0F});

    formats::GgufWriter tensors;
    tensors.add_u32("general.alignment", 32);
    std::vector<std::vector<std::byte>> owned;
    for (std::uint32_t number = 0; number <= 30; ++number) {
        const auto dtype = compute::to_dtype(number);
        if (!dtype) continue;
        const compute::Shape shape{2, compute::traits(*dtype).elements};
        owned.emplace_back(static_cast<std::size_t>(compute::row_bytes(*dtype, shape.elements())),
                           std::byte{0x5A});
        tensors.add_tensor("t" + std::to_string(number), *dtype, shape, owned.back());
    }
    return {to_text(keys.to_bytes()),
            to_text(tensors.to_bytes()),
            to_text(formats::GgufWriter().to_bytes())};
}
