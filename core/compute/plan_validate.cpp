// validate(): what every Backend relies on when it reads a Plan. After it has passed, no operation
// can reach outside a value, a weight or the cache, whatever the model file said.

#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/compute/plan.h"

namespace hearth::compute {
namespace {

/// Axes beyond this are no model's; below it the product of two never overflows.
constexpr std::int64_t kDimMax = std::numeric_limits<std::int32_t>::max();

bool is_dim(std::int64_t dim) {
    return dim > 0 && dim <= kDimMax;
}

std::string to_text(const Shape& shape) {
    std::string text = "(";
    for (int axis = 0; axis < shape.count; ++axis) {
        text += (axis == 0 ? "" : ", ") + std::to_string(shape.dim(axis));
    }
    return text + ")";
}

bool is_same(const Slice& a, const Slice& b) {
    return a.id == b.id && a.offset == b.offset && a.dim == b.dim;
}

bool overlap(const Slice& a, const Slice& b) {
    return a.id == b.id && a.offset < b.offset + b.dim && b.offset < a.offset + a.dim;
}

/// Walks the operations in order and keeps the first problem; after it, nothing is looked at.
class Checker {
  public:
    Checker(const Plan& plan, std::span<const Tensor> weights)
        : plan_(plan),
          weights_(weights),
          is_written_(plan.values.size(), false),
          expert_counts_(plan.values.size(), 0) {}

    Result<void> run() {
        check_head();
        if (plan_.rows_in.id != kNone) {
            whole(plan_.rows_in, "rows_in");
            writes(plan_.rows_in);
        }
        if (problem_) return failure("plan");
        for (std::size_t i = 0; i < plan_.operations.size(); ++i) {
            const Operation& operation = plan_.operations[i];
            std::visit([this](const auto& each) { check(each); }, operation);
            const bool is_last = i + 1 == plan_.operations.size();
            need(std::holds_alternative<Logits>(operation) == is_last,
                 "logits are the last operation of a plan, and only that one");
            if (problem_) {
                return failure("operation " + std::to_string(i) + " (" +
                               std::string(operation_name(operation)) + ")");
            }
        }
        if (plan_.rows_out.id != kNone) {
            whole(plan_.rows_out, "rows_out");
            reads(plan_.rows_out);
        }
        if (problem_) return failure("plan");
        return {};
    }

  private:
    void check_head() {
        need(plan_.tokens_max > 0, "tokens_max must be at least 1");
        need(is_dim(plan_.vocab_size), "vocab_size is out of range");
        need(!plan_.operations.empty(), "there are no operations");
        need(plan_.kv.layer_count >= 0 && plan_.kv.key_dim >= 0 && plan_.kv.key_dim <= kDimMax &&
                 plan_.kv.value_dim >= 0 && plan_.kv.value_dim <= kDimMax,
             "the cache layout is out of range");
        need(plan_.kv.dtype == Dtype::f16 || plan_.kv.dtype == Dtype::f32 || is_cache_quantised(),
             "the cache is neither F16 nor Q8_0 nor F32");
        if (!problem_) is_stored_.resize(static_cast<std::size_t>(plan_.kv.layer_count), false);
        for (const Value& value : plan_.values) {
            need(is_dim(value.dim), "value " + value.name + " has a dim out of range");
            need(value.dtype == Dtype::f32 || value.dtype == Dtype::i32,
                 "value " + value.name + " is neither F32 nor I32");
        }
    }

    void check(const Embed& op) {
        writes(op.out);
        weight(op.table, {plan_.vocab_size, op.out.dim}, "table");
    }

    void check(const RmsNorm& op) {
        reads(op.x);
        apart_or_same(op.out, op.x);
        writes(op.out);
        same_dim(op.out, op.x, "out and x");
        need(op.group_dim > 0 && op.x.dim % op.group_dim == 0, "group_dim does not divide x");
        vector(op.weight, op.group_dim, "weight");
    }

    void check(const Project& op) {
        reads(op.x);
        check_residual(op.residual, op.out);
        apart(op.out, op.x);
        writes(op.out);
        weight(op.weight, {op.out.dim, op.x.dim}, "weight");
        if (op.bias != kNone) vector(op.bias, op.out.dim, "bias");
    }

    void check(const Rope& op) {
        reads(op.x);
        heads_of(op.x, op.heads, op.head_dim, "x");
        const auto pairs = static_cast<std::int64_t>(op.frequencies.size());
        need(pairs > 0 && pairs <= kDimMax && op.rotate_offset >= 0 &&
                 op.rotate_offset <= kDimMax && op.rotate_offset + 2 * pairs <= op.head_dim,
             "the rotated columns are not inside a head");
    }

    void check(const AttentionGqa& op) {
        for (const Slice& slice : {op.q, op.k, op.v}) {
            reads(slice);
            apart(op.out, slice);
        }
        writes(op.out);
        heads_of(op.q, op.heads, op.head_dim, "q");
        heads_of(op.k, op.kv_heads, op.head_dim, "k");
        heads_of(op.v, op.kv_heads, op.value_dim, "v");
        heads_of(op.out, op.heads, op.value_dim, "out");
        need(op.kv_heads > 0 && op.heads % op.kv_heads == 0, "kv_heads does not divide heads");
        need(!is_cache_quantised() ||
                 (op.head_dim % kQuantisedHeadStep == 0 && op.value_dim % kQuantisedHeadStep == 0),
             "heads of " + std::to_string(op.head_dim) + " and " + std::to_string(op.value_dim) +
                 " columns are no multiple of " + std::to_string(kQuantisedHeadStep) +
                 ", as a cache in Q8_0 wants them; use one in F16");
        store(op.layer, op.k.dim, op.v.dim);
    }

    void check(const AttentionMla& op) {
        if (op.out.id == kNone) {
            reads(op.latent);
            store(op.layer, op.latent.dim, 0);
            return;
        }
        for (const Slice& slice : {op.q, op.latent}) {
            reads(slice);
            apart(op.out, slice);
        }
        writes(op.out);
        need(is_dim(op.nope_dim) && is_dim(op.rope_dim) && is_dim(op.latent_dim),
             "nope_dim, rope_dim or latent_dim is out of range");
        if (problem_) return;
        heads_of(op.q, op.heads, op.nope_dim + op.rope_dim, "q");
        heads_of(op.out, op.heads, op.value_dim, "out");
        need(op.latent.dim == op.latent_dim + op.rope_dim, "latent is not latent_dim + rope_dim");
        weight(op.k_up, {op.heads, op.latent_dim, op.nope_dim}, "k_up");
        weight(op.v_up, {op.heads, op.value_dim, op.latent_dim}, "v_up");
        store(op.layer, op.latent.dim, 0);
    }

    void check(const RouteTopK& op) {
        reads(op.logits);
        apart(op.experts, op.logits);
        apart(op.weights, op.logits);
        writes(op.experts, Dtype::i32);
        writes(op.weights);
        same_dim(op.experts, op.weights, "experts and weights");
        if (op.bias != kNone) vector(op.bias, op.logits.dim, "bias");
        need(op.group_count > 0 && op.groups_used > 0 && op.groups_used <= op.group_count &&
                 op.logits.dim % op.group_count == 0,
             "the groups do not fit the number of experts");
        if (problem_) return;
        // Whole, so that every number a later operation may read has come from this router.
        need(op.experts.dim == plan_.values[static_cast<std::size_t>(op.experts.id)].dim,
             "experts is not a whole value");
        const std::int64_t eligible = op.logits.dim / op.group_count * op.groups_used;
        need(op.experts.dim <= eligible, "more experts are chosen than may take part");
        if (!problem_) expert_counts_[static_cast<std::size_t>(op.experts.id)] = op.logits.dim;
    }

    void check(const Experts& op) {
        reads(op.x);
        reads(op.experts, Dtype::i32);
        reads(op.weights);
        check_residual(op.residual, op.out);
        apart(op.out, op.x);
        apart(op.out, op.weights);
        writes(op.out);
        same_dim(op.experts, op.weights, "experts and weights");
        if (problem_) return;
        const std::int64_t expert_count = expert_counts_[static_cast<std::size_t>(op.experts.id)];
        const Tensor* gate = at(op.gate, "gate");
        if (gate == nullptr) return;
        need(gate->shape.count == 3, "gate has not three axes");
        if (problem_) return;
        const std::int64_t ffn_dim = gate->shape.dim(1);
        weight(op.gate, {expert_count, ffn_dim, op.x.dim}, "gate");
        weight(op.up, {expert_count, ffn_dim, op.x.dim}, "up");
        weight(op.down, {expert_count, op.out.dim, ffn_dim}, "down");
    }

    void check(const Swiglu& op) { check_two(op.gate, op.up, op.out); }
    void check(const Add& op) { check_two(op.a, op.b, op.out); }

    void check(const Logits& op) {
        reads(op.x);
        weight(op.weight, {plan_.vocab_size, op.x.dim}, "weight");
    }

    void check_two(const Slice& a, const Slice& b, const Slice& out) {
        for (const Slice& slice : {a, b}) {
            reads(slice);
            apart_or_same(out, slice);
            same_dim(out, slice, "out and the inputs");
        }
        writes(out);
    }

    void check_residual(const Slice& residual, const Slice& out) {
        if (residual.id == kNone) return;
        reads(residual);
        apart_or_same(out, residual);
        same_dim(out, residual, "out and residual");
    }

    void need(bool is_true, std::string_view otherwise) {
        if (!is_true && !problem_) problem_ = otherwise;
    }

    void inside(const Slice& slice, Dtype dtype) {
        need(slice.id >= 0 && static_cast<std::size_t>(slice.id) < plan_.values.size(),
             "a value is not in the plan");
        if (problem_) return;
        const Value& value = plan_.values[static_cast<std::size_t>(slice.id)];
        need(is_dim(slice.dim) && slice.offset >= 0 && slice.dim <= value.dim &&
                 slice.offset <= value.dim - slice.dim,
             "a slice is not inside value " + value.name);
        need(value.dtype == dtype,
             "value " + value.name + " is not " + std::string(traits(dtype).name));
    }
    void reads(const Slice& slice, Dtype dtype = Dtype::f32) {
        inside(slice, dtype);
        if (problem_) return;
        const auto id = static_cast<std::size_t>(slice.id);
        need(is_written_[id], "value " + plan_.values[id].name + " is read before it is written");
    }
    void writes(const Slice& slice, Dtype dtype = Dtype::f32) {
        inside(slice, dtype);
        if (!problem_) is_written_[static_cast<std::size_t>(slice.id)] = true;
    }
    void whole(const Slice& slice, const std::string& what) {
        inside(slice, Dtype::f32);
        if (problem_) return;
        need(slice.dim == plan_.values[static_cast<std::size_t>(slice.id)].dim,
             what + " is not a whole value");
    }
    void apart(const Slice& out, const Slice& in) {
        need(!overlap(out, in), "what is written shares columns with what is read");
    }
    void apart_or_same(const Slice& out, const Slice& in) {
        need(is_same(out, in) || !overlap(out, in), "out shares only some columns with an input");
    }
    void same_dim(const Slice& a, const Slice& b, const std::string& what) {
        need(a.dim == b.dim, what + " differ in dim");
    }
    void heads_of(const Slice& slice, std::int64_t heads, std::int64_t dim, std::string_view what) {
        need(is_dim(heads) && is_dim(dim) && heads * dim == slice.dim,
             std::string(what) + " is not made of the given heads");
    }

    const Tensor* at(WeightId id, std::string_view what) {
        need(id >= 0 && static_cast<std::size_t>(id) < weights_.size(),
             std::string(what) + " is not among the weights");
        return problem_ ? nullptr : &weights_[static_cast<std::size_t>(id)];
    }
    void weight(WeightId id, const Shape& shape, std::string_view what) {
        const Tensor* tensor = at(id, what);
        if (tensor == nullptr) return;
        need(tensor->shape == shape,
             std::string(what) + " " + tensor->name + " has shape " + to_text(tensor->shape) +
                 ", not " + to_text(shape));
        need(tensor->dtype != Dtype::i32, tensor->name + " holds integers");
        if (!problem_) check_bytes(*tensor);
    }
    void vector(WeightId id, std::int64_t dim, std::string_view what) {
        weight(id, {dim}, what);
        if (problem_) return;
        const Tensor& tensor = weights_[static_cast<std::size_t>(id)];
        need(tensor.dtype == Dtype::f32, std::string(what) + " " + tensor.name + " is not F32");
    }
    void check_bytes(const Tensor& tensor) {
        bool is_whole = true;
        for (int axis = 0; axis < tensor.shape.count; ++axis) {
            is_whole = is_whole && is_dim(tensor.shape.dim(axis));
        }
        need(is_whole, tensor.name + " has an axis out of range");
        if (problem_) return;
        need(tensor.shape.dim(-1) % traits(tensor.dtype).elements == 0,
             tensor.name + " has rows that are no whole number of blocks");
        if (problem_) return;
        auto bytes_left = static_cast<std::int64_t>(tensor.bytes.size());
        const std::int64_t row = tensor.row_size_bytes();
        is_whole = bytes_left % row == 0;
        bytes_left /= row;
        for (int axis = 0; axis + 1 < tensor.shape.count; ++axis) {
            is_whole = is_whole && bytes_left % tensor.shape.dim(axis) == 0;
            bytes_left /= tensor.shape.dim(axis);
        }
        need(is_whole && bytes_left == 1, tensor.name + " has not as many bytes as its shape says");
    }

    [[nodiscard]] bool is_cache_quantised() const { return plan_.kv.dtype == Dtype::q8_0; }

    void store(std::int32_t layer, std::int64_t key_dim, std::int64_t value_dim) {
        need(layer >= 0 && layer < plan_.kv.layer_count, "the layer is not inside the cache");
        need(plan_.kv.key_dim == key_dim && plan_.kv.value_dim == value_dim,
             "the cache's rows have another size");
        if (problem_) return;
        need(!is_stored_[static_cast<std::size_t>(layer)], "the layer is stored twice");
        is_stored_[static_cast<std::size_t>(layer)] = true;
    }

    [[nodiscard]] Failure failure(const std::string& where) const {
        return fail(ErrorCode::invalid_argument, where + ": " + *problem_, "plan");
    }

    const Plan& plan_;
    std::span<const Tensor> weights_;
    std::optional<std::string> problem_;
    std::vector<bool> is_written_;             ///< by value
    std::vector<bool> is_stored_;              ///< by layer
    std::vector<std::int64_t> expert_counts_;  ///< by value: the range of its expert numbers
};

}  // namespace

Result<void> validate(const Plan& plan, std::span<const Tensor> weights) {
    return Checker(plan, weights).run();
}

}  // namespace hearth::compute
