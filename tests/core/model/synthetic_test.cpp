// Synthetic models: the shapes and types of real files, sound weights, the same for any threads.
#include "core/model/synthetic.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include <catch2/catch.hpp>

#include "core/compute/dequantize.h"
#include "core/model/model.h"
#include "kernels/reference/reference_backend.h"
#include "tests/support/model_runner.h"

namespace hearth::model {
namespace {

using compute::Dtype;

std::shared_ptr<const formats::GgufFile> made(std::string_view spec, bool is_filled) {
    return make_synthetic(spec, {.thread_count = 2, .is_filled = is_filled}).value();
}

struct Shaped {
    const char* spec;
    std::int64_t parameters;
    std::int64_t bytes;
};

TEST_CASE("synthetic models have the sizes of the real ones", "[model][synthetic]") {
    // As published: 15.71, 30.53 and 1.33 billion parameters; files of 9.65 GiB (V2-Lite) and
    // 18.6 GB (Qwen3-30B), vocabulary included.
    const std::vector<Shaped> cases = {
        {"ds2-small:Q8_0", 102'930'432, 109'670'400},
        {"ds2-lite4:Q4_K_M", 2'254'983'168, 1'537'835'008},
        {"deepseek-v2-lite:Q4_K_M", 15'706'484'224, 10'363'959'296},
        {"qwen3-30b-a3b:Q4_K_M", 30'532'122'624, 18'550'716'416},
        {"granite-1b:Q8_0", 1'334'628'352, 1'420'500'160},
        {"deepseek-v3-slice:Q4_K_M", 48'465'993'728, 29'477'152'768}};
    for (const Shaped& each : cases) {
        const auto file = made(each.spec, false);
        std::int64_t parameters = 0;
        std::int64_t bytes = 0;
        for (const compute::Tensor& tensor : file->tensors()) {
            parameters += tensor.shape.elements();
            bytes += static_cast<std::int64_t>(tensor.bytes.size());
        }
        INFO(each.spec);
        CHECK(parameters == each.parameters);
        CHECK(bytes == each.bytes);
        const auto model = make_model(file);
        INFO((model ? "" : model.error().text));
        CHECK(model);
    }
}

TEST_CASE("each tensor has the type it has in a real file", "[model][synthetic]") {
    const auto lite = made("deepseek-v2-lite:Q4_K_M", false);
    const auto qwen = made("qwen3-30b-a3b:Q4_K_M", false);
    const auto granite = made("granite-1b:Q4_K_M", false);
    const auto mx = made("qwen3-30b-a3b:MXFP4", false);
    struct Case {
        const formats::GgufFile& file;
        const char* tensor;
        Dtype dtype;
    };
    const std::vector<Case> cases = {
        {*lite, "token_embd.weight", Dtype::q4_k},
        {*lite, "output.weight", Dtype::q6_k},
        {*lite, "blk.0.ffn_down.weight", Dtype::q8_0},        // 10944 is no multiple of 256
        {*lite, "blk.3.ffn_down_exps.weight", Dtype::q5_0},   // nor is 1408
        {*lite, "blk.5.ffn_down_exps.weight", Dtype::q8_0},   // more bits: (5 - 3) % 3 == 2
        {*lite, "blk.26.ffn_down_exps.weight", Dtype::q8_0},  // the last eighth
        {*lite, "blk.3.ffn_down_shexp.weight", Dtype::q4_k},  // 2816 is one
        {*lite, "blk.3.ffn_gate_exps.weight", Dtype::q4_k},
        {*lite, "blk.3.ffn_gate_inp.weight", Dtype::f32},
        {*lite, "blk.3.attn_k_b.weight", Dtype::q5_0},
        {*lite, "blk.3.attn_v_b.weight", Dtype::q4_k},
        {*lite, "output_norm.weight", Dtype::f32},
        {*qwen, "blk.0.attn_v.weight", Dtype::q6_k},
        {*qwen, "blk.6.attn_v.weight", Dtype::q4_k},
        {*qwen, "blk.8.ffn_down_exps.weight", Dtype::q6_k},
        {*qwen, "blk.9.ffn_down_exps.weight", Dtype::q4_k},
        {*granite, "token_embd.weight", Dtype::q6_k},  // it is the head as well
        {*mx, "blk.9.ffn_down_exps.weight", Dtype::mxfp4},
        {*mx, "blk.9.attn_q.weight", Dtype::q8_0}};
    for (const Case& each : cases) {
        INFO(each.file.path() << " " << each.tensor);
        const compute::Tensor* tensor = each.file.find_tensor(each.tensor);
        REQUIRE(tensor != nullptr);
        CHECK(compute::traits(tensor->dtype).name == compute::traits(each.dtype).name);
    }
}

TEST_CASE("synthetic weights have one deviation, mean 0, and norms 1", "[model][synthetic]") {
    for (const char* type : {"Q4_K_M",
                             "Q8_0",
                             "Q4_0",
                             "Q5_0",
                             "Q5_1",
                             "Q5_K",
                             "Q6_K",
                             "MXFP4",
                             "F32",
                             "F16",
                             "BF16"}) {
        const auto file = made(std::string("tiny:") + type, true);
        for (const compute::Tensor& tensor : file->tensors()) {
            std::vector<float> values(static_cast<std::size_t>(tensor.shape.elements()));
            compute::dequantize(tensor.dtype, tensor.bytes, values);
            INFO(type << " " << tensor.name);
            if (tensor.shape.count == 1) {
                CHECK(std::ranges::all_of(values, [](float value) { return value == 1.0F; }));
                continue;
            }
            double sum = 0.0;
            double squares = 0.0;
            for (const float value : values) {
                sum += static_cast<double>(value);
                squares += static_cast<double>(value) * static_cast<double>(value);
            }
            const auto count = static_cast<double>(values.size());
            CHECK(std::abs(sum / count) < 0.0035);
            CHECK(std::sqrt(squares / count) == Approx(kSyntheticDeviation).epsilon(0.2));
        }
    }
}

TEST_CASE("a synthetic model is the same for any number of threads", "[model][synthetic]") {
    const auto one = make_synthetic("tiny:Q4_K_M", {.thread_count = 1}).value();
    const auto three = make_synthetic("tiny:Q4_K_M", {.thread_count = 3}).value();
    const auto other = make_synthetic("tiny:Q4_K_M", {.seed = 2}).value();
    CHECK(one->size_bytes() < 1'200'000);
    for (std::size_t i = 0; i < one->tensors().size(); ++i) {
        CHECK(std::ranges::equal(one->tensors()[i].bytes, three->tensors()[i].bytes));
    }
    CHECK_FALSE(std::ranges::equal(one->find_tensor("output.weight")->bytes,
                                   other->find_tensor("output.weight")->bytes));
}

TEST_CASE("a synthetic model runs and its logits are numbers", "[model][synthetic]") {
    const auto backend = reference::make_reference_backend();
    const auto model = make_model(made("tiny:Q4_K_M", true));
    REQUIRE(model);
    const auto logits = test::ModelRunner(*model, *backend, {}).run({{.tokens = {1, 300, 511}}});
    CHECK(std::ranges::all_of(logits, [](float value) { return std::isfinite(value); }));
    CHECK(*std::ranges::max_element(logits) > 0.1F);
}

TEST_CASE("a synthetic model that is not known is refused with the known ones",
          "[model][synthetic]") {
    for (const auto& [spec, expected] : {std::pair("gpt9:Q8_0", "deepseek-v2-lite"),
                                         std::pair("tiny", "Q4_K_M"),
                                         std::pair("tiny:Q9", "Q4_K_M"),
                                         std::pair("tiny:I32", "Q4_K_M"),
                                         std::pair("", "Q4_K_M")}) {
        const auto file = make_synthetic(spec);
        REQUIRE_FALSE(file);
        CHECK(file.error().code == ErrorCode::invalid_argument);
        CHECK_THAT(file.error().text, Catch::Contains(expected));
    }
}

}  // namespace
}  // namespace hearth::model
