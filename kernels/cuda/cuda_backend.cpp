#include "kernels/cuda/cuda_backend.h"

#include <cstdlib>
#include <string>
#include <string_view>

#include "core/base/assert.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/guarded.h"
#include "kernels/cuda/kv_store.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/program.h"
#include "kernels/cuda/read_rate.h"
#include "kernels/cuda/weights.h"

namespace hearth::cuda {
namespace {

class CudaBackend final : public compute::Backend {
  public:
    CudaBackend(Device device, ProgramOptions options, std::shared_ptr<Stream> stream)
        : device_(std::move(device)),
          options_(options),
          stream_(std::move(stream)) {}

    [[nodiscard]] std::string_view name() const override { return "cuda"; }
    [[nodiscard]] std::string description() const override { return device_.description; }

    [[nodiscard]] std::optional<compute::DeviceMemory> memory() const override {
        std::size_t free_bytes = 0;
        std::size_t total_bytes = 0;
        if (!stream_->enter() || cudaMemGetInfo(&free_bytes, &total_bytes) != cudaSuccess)
            return std::nullopt;
        return compute::DeviceMemory{static_cast<std::int64_t>(free_bytes),
                                     static_cast<std::int64_t>(total_bytes)};
    }
    [[nodiscard]] bool has_cache_type(compute::Dtype dtype) const override {
        return dtype == compute::Dtype::f16 || dtype == compute::Dtype::q8_0;
    }
    [[nodiscard]] bool passes_rows() const override { return true; }
    double measure_read_rate(std::int64_t bytes) override {
        if (!stream_->enter()) return 0.0;
        return cuda::measure_read_rate(bytes, stream_->get());
    }

    Result<std::unique_ptr<compute::DeviceWeights>> upload(
        std::span<const compute::Tensor> weights) override {
        return upload_partly(weights, {});
    }
    Result<std::unique_ptr<compute::DeviceWeights>> upload_partly(
        std::span<const compute::Tensor> weights,
        std::span<const compute::HostExperts> on_host) override {
        using Uploaded = std::unique_ptr<compute::DeviceWeights>;
        return guarded("the way of weights to the device", [&]() -> Result<Uploaded> {
            HEARTH_CHECK(stream_->enter());
            HEARTH_TRY(auto uploaded, CudaWeights::make(weights, on_host));
            return Uploaded(std::move(uploaded));
        });
    }

    Result<std::unique_ptr<compute::Program>> compile(const compute::Plan& plan,
                                                      compute::DeviceWeights& weights) override {
        const auto* own = dynamic_cast<const CudaWeights*>(&weights);
        HEARTH_ASSERT(own != nullptr);
        return guarded("the program of a model",
                       [&] { return CudaProgram::make(plan, *own, options_, stream_); });
    }

    Result<std::unique_ptr<compute::KvStore>> make_kv_store(const compute::KvLayout& layout,
                                                            std::int32_t block_count) override {
        return guarded("a cache", [&] { return CudaKvStore::make(layout, block_count, stream_); });
    }

  private:
    const Device device_;
    const ProgramOptions options_;
    const std::shared_ptr<Stream> stream_;
};

bool is_set(const char* name, bool otherwise) {
    const char* value = std::getenv(name);
    return value == nullptr ? otherwise : std::string_view(value) == "1";
}

}  // namespace

Result<std::unique_ptr<compute::Backend>> make_cuda_backend(const CudaOptions& options) {
    using Made = std::unique_ptr<compute::Backend>;
    return guarded("a backend", [&]() -> Result<Made> {
        HEARTH_TRY(Device device, choose_device(options.device));
        HEARTH_TRY(auto stream, Stream::make());
        const ProgramOptions program_options{
            .is_exact = options.is_exact,
            .has_graphs = options.has_graphs,
            .has_overlap = options.has_overlap && device.can_overlap_kernels,
            .has_bf16 = device.has_bf16};
        return Made(
            std::make_unique<CudaBackend>(std::move(device), program_options, std::move(stream)));
    });
}

Result<CudaOptions> cuda_options_of_environment() {
    CudaOptions options{.device = std::nullopt,
                        .is_exact = is_set("HEARTH_CUDA_EXACT", false),
                        .has_graphs = is_set("HEARTH_CUDA_GRAPHS", true),
                        .has_overlap = is_set("HEARTH_CUDA_OVERLAP", false)};
    if (const char* value = std::getenv("HEARTH_CUDA_DEVICE")) {
        char* end = nullptr;
        const long index = std::strtol(value, &end, 10);
        if (end == value || *end != '\0' || index < 0 || index > 1024) {
            return fail(ErrorCode::unavailable,
                        std::string("HEARTH_CUDA_DEVICE is \"") + value +
                            "\"; give the number of a GPU, or nothing",
                        "cuda");
        }
        options.device = static_cast<int>(index);
    }
    return options;
}

}  // namespace hearth::cuda
