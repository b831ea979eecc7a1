// Whole models on the emulated AMX kernels: near the reference, and the same bits in any company,
// though few tokens and many go different ways.
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "kernels/cpu/kv_store.h"
#include "kernels/cpu/program.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/reference/reference_backend.h"
#include "tests/kernels/cpu/emulated_kernels.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

namespace hearth::cpu {
namespace {

class BorrowedWeights final : public compute::DeviceWeights {
  public:
    explicit BorrowedWeights(std::span<const compute::Tensor> weights)
        : tensors(weights.begin(), weights.end()) {}
    const std::vector<compute::Tensor> tensors;
};

/// The CPU backend with a table that no instruction set of this machine has.
class EmulatedBackend final : public compute::Backend {
  public:
    [[nodiscard]] std::string_view name() const override { return kernels_.name; }
    [[nodiscard]] std::string description() const override { return kernels_.name; }

    Result<std::unique_ptr<compute::DeviceWeights>> upload(
        std::span<const compute::Tensor> weights) override {
        return std::unique_ptr<compute::DeviceWeights>(std::make_unique<BorrowedWeights>(weights));
    }
    Result<std::unique_ptr<compute::Program>> compile(const compute::Plan& plan,
                                                      compute::DeviceWeights& weights) override {
        return CpuProgram::make(
            plan, dynamic_cast<BorrowedWeights&>(weights).tensors, kernels_, pool_);
    }
    Result<std::unique_ptr<compute::KvStore>> make_kv_store(const compute::KvLayout& layout,
                                                            std::int32_t block_count) override {
        return CpuKvStore::make(layout, block_count);
    }

  private:
    const Kernels kernels_ = emulated_amx_kernels();
    ThreadPool pool_{2};
};

/// A latent model with shared and routed experts, and one with heads and routed experts.
std::vector<test::TinyModelOptions> models_of(compute::Dtype dtype, std::int32_t hidden_dim) {
    return {
        {.dtype = dtype, .hidden_dim = hidden_dim, .layer_count = 2},
        {.architecture = "qwen3moe", .dtype = dtype, .hidden_dim = hidden_dim, .layer_count = 2}};
}

struct Matrices {
    compute::Dtype dtype;
    std::int32_t hidden_dim;
    double distance_max;
};
/// What the reference rounds in blocks of 32, the K types round in blocks of 256. From 128 on k_up
/// is quantised, and attention beside it rounded.
constexpr Matrices kMatrices[] = {{compute::Dtype::q8_0, 64, 0.003},
                                  {compute::Dtype::q8_0, 128, 0.003},
                                  {compute::Dtype::q5_1, 64, 0.003},
                                  {compute::Dtype::q4_k, 256, 0.1},
                                  {compute::Dtype::q6_k, 256, 0.1}};

TEST_CASE("emulated AMX gives the reference's logits", "[cpu][program][emulated]") {
    EmulatedBackend amx;
    const auto reference =
        reference::make_reference_backend({.rounds_activations = true, .rounds_latents = true});
    for (const auto& [dtype, hidden_dim, distance_max] : kMatrices) {
        for (const test::TinyModelOptions& options : models_of(dtype, hidden_dim)) {
            INFO(options.architecture << " " << compute::traits(dtype).name);
            CHECK(test::distance_apart(test::tiny_model(options), amx, *reference) <= distance_max);
        }
    }
}

TEST_CASE("emulated AMX gives the same bits in one step and in several",
          "[cpu][program][emulated]") {
    EmulatedBackend amx;
    for (const Matrices& matrices : kMatrices) {
        for (const auto& options : models_of(matrices.dtype, matrices.hidden_dim)) {
            const auto model = test::tiny_model(options);
            std::mt19937 random(7);
            std::vector<std::int32_t> tokens(45);
            for (std::int32_t& token : tokens) {
                const auto vocab_size = static_cast<unsigned>(model->config().vocab_size);
                token = static_cast<std::int32_t>(random() % vocab_size);
            }
            const auto whole = test::ModelRunner(model, amx, {}).run_chunks(tokens, tokens.size());
            for (const std::size_t chunk : {1U, 17U}) {
                INFO(options.architecture << " " << compute::traits(options.dtype).name << " chunk "
                                          << chunk);
                const auto parts = test::ModelRunner(model, amx, {}).run_chunks(tokens, chunk);
                REQUIRE(parts.size() == whole.size());
                CHECK(std::memcmp(parts.data(), whole.data(), whole.size() * sizeof(float)) == 0);
            }
        }
    }
}

}  // namespace
}  // namespace hearth::cpu
