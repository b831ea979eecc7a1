// A model's weights on the device: planes of all tensors in one allocation, but for the experts
// that stay with the host.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/base/result.h"
#include "core/compute/backend.h"
#include "kernels/cuda/expert_store.h"
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/memory.h"

namespace hearth::cuda {

class CudaWeights final : public compute::DeviceWeights {
  public:
    /// Repacks on the host's cores and copies piece by piece.   Errors: out_of_memory, internal.
    static Result<std::unique_ptr<CudaWeights>> make(
        std::span<const compute::Tensor> tensors,
        std::span<const compute::HostExperts> on_host = {});

    [[nodiscard]] std::span<const compute::Tensor> tensors() const { return tensors_; }
    [[nodiscard]] const compute::Tensor& tensor(compute::WeightId id) const {
        return tensors_[static_cast<std::size_t>(id)];
    }
    [[nodiscard]] const Matrix& matrix(compute::WeightId id) const {
        return matrices_[static_cast<std::size_t>(id)];
    }
    /// Of an F32 vector.
    [[nodiscard]] const float* vector(compute::WeightId id) const {
        return reinterpret_cast<const float*>(matrix(id).quants);
    }
    /// Null where all experts are on the device. What is in it changes with the steps.
    [[nodiscard]] ExpertStore* experts() const { return experts_.get(); }

  private:
    std::vector<compute::Tensor> tensors_;
    std::vector<Matrix> matrices_;
    DeviceBuffer memory_;
    std::unique_ptr<ExpertStore> experts_;
};

}  // namespace hearth::cuda
