// Models that tests turn into another type of weights are the same models, but for rounding.
#include "tests/support/converted_model.h"

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "core/compute/dequantize.h"
#include "kernels/reference/reference_backend.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

namespace hearth::test {
namespace {

std::vector<float> values_of(const compute::Tensor& tensor) {
    std::vector<float> values(static_cast<std::size_t>(tensor.shape.elements()));
    compute::dequantize(tensor.dtype, tensor.bytes, values);
    return values;
}

/// Bits behind the first of a value of `dtype`: half of the last is the largest error.
double step_of(compute::Dtype dtype) {
    return dtype == compute::Dtype::f16 ? 0x1p-11 : dtype == compute::Dtype::bf16 ? 0x1p-8 : 0.0;
}

TEST_CASE("a converted model has the nearest weights, norms and routers as they were",
          "[model][converted]") {
    const auto model = tiny_model({.layer_count = 2});
    for (const auto dtype : {compute::Dtype::f32, compute::Dtype::f16, compute::Dtype::bf16}) {
        const auto found = converted_model(*model, dtype);
        REQUIRE(found->file().tensors().size() == model->file().tensors().size());
        int changed = 0;
        for (const compute::Tensor& expected : model->file().tensors()) {
            INFO(expected.name << " in " << compute::traits(dtype).name);
            const compute::Tensor* tensor = found->file().find_tensor(expected.name);
            REQUIRE(tensor != nullptr);
            CHECK(tensor->shape == expected.shape);
            if (expected.dtype == compute::Dtype::f32) {
                CHECK(tensor->dtype == compute::Dtype::f32);
                CHECK(values_of(*tensor) == values_of(expected));
                continue;
            }
            ++changed;
            CHECK(tensor->dtype == dtype);
            const auto values = values_of(*tensor);
            const auto wanted = values_of(expected);
            bool is_near = true;
            for (std::size_t i = 0; i < wanted.size(); ++i) {
                const double error = std::abs(static_cast<double>(values[i]) - wanted[i]);
                // Halves below 2^-14 have fewer bits.
                is_near = is_near && error <= step_of(dtype) * std::abs(wanted[i]) + 0x1p-25;
            }
            CHECK(is_near);
        }
        CHECK(changed > 5);
    }
}

TEST_CASE("a converted model runs, without the one it was made of", "[model][converted]") {
    auto model = tiny_model({.architecture = "qwen3moe", .layer_count = 2});
    const auto backend = reference::make_reference_backend();
    const std::vector<std::int32_t> tokens = {5, 9, 2, 7, 1};
    const auto expected = ModelRunner(model, *backend, {}).run_chunks(tokens, 5);
    const std::int64_t vocab_size = model->config().vocab_size;
    const auto in_f32 = converted_model(*model, compute::Dtype::f32);
    const auto in_f16 = converted_model(*model, compute::Dtype::f16);
    model.reset();
    const auto distance = [&](const std::shared_ptr<const model::Model>& which) {
        return median(relative_l2_rows(
            ModelRunner(which, *backend, {}).run_chunks(tokens, 5), expected, vocab_size));
    };
    CHECK(distance(in_f32) == 0.0);
    CHECK(distance(in_f16) > 0.0);
    CHECK(distance(in_f16) < 0.005);
}

}  // namespace
}  // namespace hearth::test
