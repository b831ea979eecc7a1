#include "kernels/cpu/cpu_backend.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "core/base/assert.h"
#include "core/compute/host_memory.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kv_store.h"
#include "kernels/cpu/program.h"
#include "kernels/cpu/read_rate.h"
#include "kernels/cpu/thread_pool.h"

namespace hearth::cpu {
namespace {

constexpr std::int32_t kThreadsMax = 512;

class CpuWeights final : public compute::DeviceWeights {
  public:
    explicit CpuWeights(std::span<const compute::Tensor> weights)
        : tensors_(weights.begin(), weights.end()) {}

    [[nodiscard]] std::span<const compute::Tensor> tensors() const { return tensors_; }

  private:
    std::vector<compute::Tensor> tensors_;
};

class CpuBackend final : public compute::Backend {
  public:
    CpuBackend(Isa isa, std::int32_t thread_count) : isa_(isa), pool_(thread_count) {}

    [[nodiscard]] std::string_view name() const override { return "cpu"; }
    [[nodiscard]] std::string description() const override {
        const std::int32_t count = pool_.thread_count();
        return std::to_string(count) + (count == 1 ? " thread, " : " threads, ") +
               std::string(to_string(isa_));
    }

    [[nodiscard]] std::optional<compute::DeviceMemory> memory() const override {
        return compute::host_memory();
    }
    double measure_read_rate(std::int64_t bytes) override {
        return cpu::measure_read_rate(pool_, bytes);
    }

    [[nodiscard]] bool has_cache_type(compute::Dtype dtype) const override {
        return dtype == compute::Dtype::f16 || dtype == compute::Dtype::q8_0 ||
               dtype == compute::Dtype::f32;
    }

    [[nodiscard]] bool passes_rows() const override { return true; }

    Result<std::unique_ptr<compute::DeviceWeights>> upload(
        std::span<const compute::Tensor> weights) override {
        return std::unique_ptr<compute::DeviceWeights>(std::make_unique<CpuWeights>(weights));
    }

    Result<std::unique_ptr<compute::Program>> compile(const compute::Plan& plan,
                                                      compute::DeviceWeights& weights) override {
        const auto* own = dynamic_cast<const CpuWeights*>(&weights);
        HEARTH_ASSERT(own != nullptr);
        return CpuProgram::make(plan, own->tensors(), kernels_of(isa_), pool_);
    }

    Result<std::unique_ptr<compute::KvStore>> make_kv_store(const compute::KvLayout& layout,
                                                            std::int32_t block_count) override {
        return CpuKvStore::make(layout, block_count);
    }

  private:
    const Isa isa_;
    ThreadPool pool_;
};

}  // namespace

Result<std::unique_ptr<compute::Backend>> make_cpu_backend(const compute::BackendOptions& options) {
    HEARTH_TRY(const Isa isa, choose_isa(std::getenv("HEARTH_CPU_ISA")));
    if (options.thread_count < 0 || options.thread_count > kThreadsMax) {
        return fail(ErrorCode::invalid_argument,
                    "the CPU backend cannot use " + std::to_string(options.thread_count) +
                        " threads; give 1 to " + std::to_string(kThreadsMax) +
                        ", or 0 for one per core",
                    "cpu");
    }
    if (options.is_exact) {
        return fail(ErrorCode::unsupported,
                    "the CPU backend rounds activations beside quantised weights; for exact "
                    "numbers take the backend cuda or reference",
                    "cpu");
    }
    // What this process may run on, where the system limits it.
    const auto cores = static_cast<std::int32_t>(std::thread::hardware_concurrency());
    const std::int32_t threads =
        options.thread_count > 0 ? options.thread_count : std::clamp(cores, 1, kThreadsMax);
    return std::unique_ptr<compute::Backend>(std::make_unique<CpuBackend>(isa, threads));
}

}  // namespace hearth::cpu
