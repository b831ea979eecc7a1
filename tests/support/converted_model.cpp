#include "tests/support/converted_model.h"

#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

#include "core/base/assert.h"
#include "core/compute/dequantize.h"
#include "core/compute/half.h"
#include "core/formats/gguf.h"

namespace hearth::test {
namespace {

std::vector<std::byte> converted(const compute::Tensor& tensor, compute::Dtype dtype) {
    std::vector<float> values(static_cast<std::size_t>(tensor.shape.elements()));
    compute::dequantize(tensor.dtype, tensor.bytes, values);
    std::vector<std::byte> bytes(values.size() * (dtype == compute::Dtype::f32 ? 4 : 2));
    if (dtype == compute::Dtype::f32) {
        std::memcpy(bytes.data(), values.data(), bytes.size());
        return bytes;
    }
    HEARTH_ASSERT(dtype == compute::Dtype::f16 || dtype == compute::Dtype::bf16);
    for (std::size_t i = 0; i < values.size(); ++i) {
        const std::uint16_t half = dtype == compute::Dtype::f16 ? compute::float_to_half(values[i])
                                                                : compute::float_to_bf16(values[i]);
        std::memcpy(bytes.data() + 2 * i, &half, sizeof(half));
    }
    return bytes;
}

}  // namespace

std::shared_ptr<const model::Model> converted_model(const model::Model& model,
                                                    compute::Dtype dtype) {
    const formats::GgufFile& file = model.file();
    const auto memory = std::make_shared<std::vector<std::vector<std::byte>>>();
    std::vector<compute::Tensor> tensors;
    for (compute::Tensor tensor : file.tensors()) {
        // F32 too: its bytes may end with the old model.
        const bool stays = tensor.dtype == compute::Dtype::f32;
        memory->push_back(converted(tensor, stays ? tensor.dtype : dtype));
        tensor.dtype = stays ? tensor.dtype : dtype;
        tensor.bytes = memory->back();
        tensors.push_back(std::move(tensor));
    }
    auto made = model::make_model(formats::GgufFile::from_parts(
        file.path(), {file.metadata().begin(), file.metadata().end()}, std::move(tensors), memory));
    if (!made) throw std::runtime_error(made.error().text);
    return std::move(made).value();
}

}  // namespace hearth::test
