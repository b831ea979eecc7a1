// The one symbol of libhearth_cuda.so.
#include "core/base/version.h"
#include "core/compute/backend_registry.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device.h"

namespace {

constexpr int kScore = 100;  ///< before the linked backends

bool find_device(std::string& text) {
    const auto options = hearth::cuda::cuda_options_of_environment();
    if (!options) {
        text = options.error().text;
        return false;
    }
    const auto device = hearth::cuda::find_device(options->device);
    text = device ? device->description : device.error().text;
    return device.has_value();
}

/// A device is chosen when a backend is made, so that a busy one fails by name.
hearth::compute::Backend* make(const hearth::compute::BackendOptions& wanted, std::string& reason) {
    auto options = hearth::cuda::cuda_options_of_environment();
    if (!options) {
        reason = options.error().text;
        return nullptr;
    }
    options->is_exact = options->is_exact || wanted.is_exact;
    auto backend = hearth::cuda::make_cuda_backend(*options);
    if (backend) return std::move(backend).value().release();
    reason = backend.error().text;
    return nullptr;
}

}  // namespace

extern "C" __attribute__((visibility("default")))
const hearth::compute::AcceleratorEntry hearth_backend_entry = {
    hearth::build_id().data(), "cuda", kScore, &find_device, &make};
