#include "core/compute/plan.h"

#include <array>
#include <utility>

namespace hearth::compute {
namespace {

/// Adds up weight_bytes_per_token().
struct WeightBytes {
    std::span<const Tensor> weights;

    [[nodiscard]] std::int64_t of(WeightId id) const {
        if (id == kNone) return 0;
        return static_cast<std::int64_t>(weights[static_cast<std::size_t>(id)].bytes.size());
    }
    [[nodiscard]] std::int64_t operator()(const Embed& op) const {
        return weights[static_cast<std::size_t>(op.table)].row_size_bytes();
    }
    [[nodiscard]] std::int64_t operator()(const RmsNorm& op) const { return of(op.weight); }
    [[nodiscard]] std::int64_t operator()(const Project& op) const {
        return of(op.weight) + of(op.bias);
    }
    [[nodiscard]] std::int64_t operator()(const Rope& /*op*/) const { return 0; }
    [[nodiscard]] std::int64_t operator()(const AttentionGqa& /*op*/) const { return 0; }
    [[nodiscard]] std::int64_t operator()(const AttentionMla& op) const {
        return of(op.k_up) + of(op.v_up);
    }
    [[nodiscard]] std::int64_t operator()(const RouteTopK& op) const { return of(op.bias); }
    [[nodiscard]] std::int64_t operator()(const Experts& op) const {
        const auto expert_count = weights[static_cast<std::size_t>(op.gate)].shape.dim(0);
        return (of(op.gate) + of(op.up) + of(op.down)) / expert_count * op.experts.dim;
    }
    [[nodiscard]] std::int64_t operator()(const Swiglu& /*op*/) const { return 0; }
    [[nodiscard]] std::int64_t operator()(const Add& /*op*/) const { return 0; }
    [[nodiscard]] std::int64_t operator()(const Logits& op) const { return of(op.weight); }
};

/// Writes the lines of to_string().
class Printer {
  public:
    Printer(const Plan& plan, std::span<const Tensor> weights) : plan_(plan), weights_(weights) {}

    std::string print() {
        out_ += "plan: tokens_max " + std::to_string(plan_.tokens_max) + ", vocab_size " +
                std::to_string(plan_.vocab_size) + ", cache " +
                std::to_string(plan_.kv.layer_count) + " layers of " +
                std::to_string(plan_.kv.key_dim) + "+" + std::to_string(plan_.kv.value_dim) + " " +
                std::string(traits(plan_.kv.dtype).name) + "\n";
        if (plan_.rows_in.id != kNone) {
            out_ += "rows in";
            result(plan_.rows_in);
            out_ += '\n';
        }
        for (const Operation& operation : plan_.operations) {
            out_ += operation_name(operation);
            std::visit([this](const auto& each) { print(each); }, operation);
            out_ += '\n';
        }
        if (plan_.rows_out.id != kNone) {
            out_ += "rows out";
            slice(plan_.rows_out);
            out_ += '\n';
        }
        return std::move(out_);
    }

  private:
    void print(const Embed& op) {
        weight(op.table);
        scale(op.scale);
        result(op.out);
    }
    void print(const RmsNorm& op) {
        slice(op.x);
        weight(op.weight);
        number(" groups of ", op.group_dim);
        result(op.out);
    }
    void print(const Project& op) {
        slice(op.x);
        weight(op.weight);
        if (op.bias != kNone) weight(op.bias);
        residual(op.residual);
        result(op.out);
    }
    void print(const Rope& op) {
        slice(op.x);
        number(" heads ", op.heads);
        number(" from ", op.rotate_offset);
        number(" pairs ", static_cast<std::int64_t>(op.frequencies.size()));
        out_ += op.style == RopeStyle::interleaved ? " interleaved" : " halves";
        result(op.x);
    }
    void print(const AttentionGqa& op) {
        number(" layer ", op.layer);
        slice(op.q);
        slice(op.k);
        slice(op.v);
        number(" heads ", op.heads);
        out_ += '/' + std::to_string(op.kv_heads);
        scale(op.scale);
        result(op.out);
    }
    void print(const AttentionMla& op) {
        number(" layer ", op.layer);
        if (op.out.id == kNone) return slice(op.latent);
        slice(op.q);
        slice(op.latent);
        weight(op.k_up);
        weight(op.v_up);
        number(" heads ", op.heads);
        scale(op.scale);
        result(op.out);
    }
    void print(const RouteTopK& op) {
        slice(op.logits);
        if (op.bias != kNone) weight(op.bias);
        out_ += op.gating == Gating::softmax ? " softmax" : " sigmoid";
        if (op.group_count > 1) {
            number(" groups ", op.groups_used);
            out_ += '/' + std::to_string(op.group_count);
        }
        if (op.normalise) out_ += " normalised";
        scale(op.scale);
        result(op.experts);
        out_ += ',';
        slice(op.weights);
    }
    void print(const Experts& op) {
        slice(op.x);
        slice(op.experts);
        slice(op.weights);
        weight(op.gate);
        weight(op.up);
        weight(op.down);
        residual(op.residual);
        result(op.out);
    }
    void print(const Swiglu& op) {
        slice(op.gate);
        slice(op.up);
        result(op.out);
    }
    void print(const Add& op) {
        slice(op.a);
        slice(op.b);
        result(op.out);
    }
    void print(const Logits& op) {
        slice(op.x);
        weight(op.weight);
        scale(op.scale);
    }

    void slice(const Slice& slice) {
        const auto id = static_cast<std::size_t>(slice.id);
        out_ += ' ';
        out_ += slice.id >= 0 && id < plan_.values.size() ? plan_.values[id].name : "?";
        out_ += '[' + std::to_string(slice.offset) + ':' +
                std::to_string(slice.offset + slice.dim) + ']';
    }
    void result(const Slice& out) {
        out_ += " ->";
        slice(out);
    }
    void residual(const Slice& slice_or_none) {
        if (slice_or_none.id == kNone) return;
        out_ += " +";
        slice(slice_or_none);
    }
    void weight(WeightId id) {
        if (id < 0 || static_cast<std::size_t>(id) >= weights_.size()) {
            out_ += " ?";
            return;
        }
        const Tensor& tensor = weights_[static_cast<std::size_t>(id)];
        out_ += ' ' + tensor.name + '(';
        for (int axis = 0; axis < tensor.shape.count; ++axis) {
            out_ += std::to_string(tensor.shape.dim(axis)) + ' ';
        }
        out_ += traits(tensor.dtype).name;
        out_ += ')';
    }
    void scale(float scale) {
        if (scale != 1.0F) out_ += " scale " + std::to_string(scale);
    }
    void number(const char* label, std::int64_t value) { out_ += label + std::to_string(value); }

    const Plan& plan_;
    std::span<const Tensor> weights_;
    std::string out_;
};

}  // namespace

Slice Plan::add_value(std::string name, std::int64_t dim, Dtype dtype) {
    values.push_back(Value{std::move(name), dim, dtype});
    return Slice{static_cast<ValueId>(values.size() - 1), 0, dim};
}

std::int64_t cache_row_bytes(Dtype dtype, std::int64_t dim) {
    const DtypeTraits& block = traits(dtype);
    return (dim + block.elements - 1) / block.elements * block.bytes;
}

std::int64_t cache_bytes_per_token(const KvLayout& layout) {
    return layout.layer_count * (cache_row_bytes(layout.dtype, layout.key_dim) +
                                 cache_row_bytes(layout.dtype, layout.value_dim));
}

std::int64_t weight_bytes_per_token(const Plan& plan, std::span<const Tensor> weights) {
    std::int64_t bytes = 0;
    for (const Operation& operation : plan.operations) {
        bytes += std::visit(WeightBytes{weights}, operation);
    }
    return bytes;
}

std::string_view operation_name(const Operation& operation) {
    // In the order of the variant.
    static constexpr std::array<std::string_view, std::variant_size_v<Operation>> kNames = {
        "embed",
        "rms_norm",
        "project",
        "rope",
        "attention_gqa",
        "attention_mla",
        "route_top_k",
        "experts",
        "swiglu",
        "add",
        "logits"};
    return kNames[operation.index()];
}

std::string to_string(const Plan& plan, std::span<const Tensor> weights) {
    return Printer(plan, weights).print();
}

}  // namespace hearth::compute
