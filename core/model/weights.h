// Weights: the named tensors of one model, each at the index by which Plans name it. Most are
// borrowed from the mapped file; a few are derived from an older layout and owned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "core/base/result.h"
#include "core/compute/compute.h"
#include "core/formats/gguf.h"

namespace hearth::model {

class Weights {
  public:
    /// `file` outlives the weights.
    explicit Weights(const formats::GgufFile& file) : file_(&file) {}

    /// Takes the tensor `name` of the file. The optional form answers kNone when it is absent.
    ///
    /// Errors: corrupt, naming the tensor that is missing or has another shape than `shape`.
    Result<compute::WeightId> take(const std::string& name, const compute::Shape& shape);
    Result<compute::WeightId> take_optional(const std::string& name, const compute::Shape& shape);
    /// A vector (norm, bias), as F32 whatever the file has.
    Result<compute::WeightId> take_vector(const std::string& name, std::int64_t dim);
    Result<compute::WeightId> take_optional_vector(const std::string& name, std::int64_t dim);

    /// The same checks, but for a tensor that is only read, to derive others from it.
    Result<const compute::Tensor*> read(const std::string& name, const compute::Shape& shape);
    Result<std::vector<float>> read_floats(const std::string& name, const compute::Shape& shape);
    compute::WeightId add_derived(std::string name,
                                  compute::Dtype dtype,
                                  const compute::Shape& shape,
                                  std::vector<std::byte> bytes);

    /// What is taken from here on comes from another file, which outlives the weights too.
    void go_on_with(const formats::GgufFile& file);
    /// As if only the first `count` tensors had been taken.
    void forget_behind(std::size_t count) { tensors_.resize(count); }

    [[nodiscard]] bool has(std::string_view name) const;
    [[nodiscard]] std::span<const compute::Tensor> tensors() const { return tensors_; }

    /// A tensor of the file that nobody asked for changes what the model computes: none may be left
    /// over. Layers from `layer_count` on are other models (multi-token prediction) and are
    /// skipped.
    ///
    /// Errors: unsupported, naming the tensor.
    [[nodiscard]] Result<void> check_all_used(std::int64_t layer_count) const;

  private:
    const formats::GgufFile* file_;
    std::vector<compute::Tensor> tensors_;
    std::vector<std::unique_ptr<std::vector<std::byte>>> owned_;  ///< bytes of the derived ones
    std::unordered_set<std::string> used_;                        ///< names in the file
};

}  // namespace hearth::model
