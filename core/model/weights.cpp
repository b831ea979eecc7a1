#include "core/model/weights.h"

#include <charconv>
#include <utility>

#include "core/compute/dequantize.h"

namespace hearth::model {
namespace {

using compute::kNone;
using compute::Shape;
using compute::Tensor;
using compute::WeightId;

std::string to_text(const Shape& shape) {
    std::string text = "(";
    for (int axis = 0; axis < shape.count; ++axis) {
        text += (axis == 0 ? "" : ", ") + std::to_string(shape.dim(axis));
    }
    return text + ")";
}

/// The N of "blk.N.…"; empty for a tensor of no layer.
std::optional<std::int64_t> layer_of(std::string_view name) {
    constexpr std::string_view kPrefix = "blk.";
    if (name.substr(0, kPrefix.size()) != kPrefix) return std::nullopt;
    std::int64_t layer = 0;
    const char* begin = name.data() + kPrefix.size();
    const auto [end, error] = std::from_chars(begin, name.data() + name.size(), layer);
    if (error != std::errc() || end == begin) return std::nullopt;
    return layer;
}

}  // namespace

void Weights::go_on_with(const formats::GgufFile& file) {
    file_ = &file;
    used_.clear();
}

bool Weights::has(std::string_view name) const {
    return file_->find_tensor(name) != nullptr;
}

Result<const Tensor*> Weights::read(const std::string& name, const Shape& shape) {
    const Tensor* tensor = file_->find_tensor(name);
    if (tensor == nullptr) {
        return fail(ErrorCode::corrupt,
                    file_->path() + " has no tensor " + name + ", which its architecture needs",
                    "model");
    }
    if (tensor->shape != shape) {
        return fail(ErrorCode::corrupt,
                    "tensor " + name + " of " + file_->path() + " has shape " +
                        to_text(tensor->shape) + ", but the metadata asks for " + to_text(shape),
                    "model");
    }
    if (tensor->dtype == compute::Dtype::i32) {
        return fail(ErrorCode::corrupt,
                    "tensor " + name + " of " + file_->path() + " holds integers",
                    "model");
    }
    used_.insert(name);
    return tensor;
}

Result<WeightId> Weights::take(const std::string& name, const Shape& shape) {
    HEARTH_TRY(const Tensor* tensor, read(name, shape));
    tensors_.push_back(*tensor);
    return static_cast<WeightId>(tensors_.size() - 1);
}

Result<std::vector<float>> Weights::read_floats(const std::string& name, const Shape& shape) {
    HEARTH_TRY(const Tensor* tensor, read(name, shape));
    std::vector<float> values(static_cast<std::size_t>(shape.elements()));
    compute::dequantize(tensor->dtype, tensor->bytes, values);
    return values;
}

Result<WeightId> Weights::take_vector(const std::string& name, std::int64_t dim) {
    HEARTH_TRY(const Tensor* tensor, read(name, {dim}));
    if (tensor->dtype == compute::Dtype::f32) return take(name, {dim});
    HEARTH_TRY(const auto values, read_floats(name, {dim}));
    const auto bytes = std::as_bytes(std::span(values));
    return add_derived(name, compute::Dtype::f32, {dim}, {bytes.begin(), bytes.end()});
}

Result<WeightId> Weights::take_optional(const std::string& name, const Shape& shape) {
    if (!has(name)) return kNone;
    return take(name, shape);
}

Result<WeightId> Weights::take_optional_vector(const std::string& name, std::int64_t dim) {
    if (!has(name)) return kNone;
    return take_vector(name, dim);
}

WeightId Weights::add_derived(std::string name,
                              compute::Dtype dtype,
                              const Shape& shape,
                              std::vector<std::byte> bytes) {
    owned_.push_back(std::make_unique<std::vector<std::byte>>(std::move(bytes)));
    tensors_.push_back(Tensor{std::move(name), dtype, shape, *owned_.back()});
    return static_cast<WeightId>(tensors_.size() - 1);
}

Result<void> Weights::check_all_used(std::int64_t layer_count) const {
    for (const Tensor& tensor : file_->tensors()) {
        if (used_.contains(tensor.name)) continue;
        if (layer_of(tensor.name).value_or(-1) >= layer_count) continue;
        return fail(ErrorCode::unsupported,
                    "tensor " + tensor.name + " of " + file_->path() +
                        " is not known for this architecture, and the model would be wrong "
                        "without it",
                    "model");
    }
    return {};
}

}  // namespace hearth::model
