#include "kernels/cpu/compile.h"

#include <utility>
#include <variant>

#include "kernels/cpu/activation.h"
#include "kernels/cpu/gate_up_pattern.h"
#include "kernels/cpu/ops/ops.h"

namespace hearth::cpu {
namespace {

using compute::kNone;
using compute::Plan;
using compute::Tensor;
using compute::WeightId;

class Compiler {
  public:
    Compiler(const Plan& plan, std::span<const Tensor> weights) : plan_(plan), weights_(weights) {
        for (const compute::Value& value : plan.values) {
            out_.row_bytes.push_back(value.dim * 4);
        }
    }

    CompiledPlan run() && {
        if (plan_.rows_in.id != kNone) push(make_rows_in(plan_.rows_in));
        for (std::size_t i = 0; i < plan_.operations.size();) {
            if (const auto pattern = find_gate_up(plan_, i)) {
                add(*pattern);
                i += GateUpPattern::kOperations;
            } else {
                std::visit([this](const auto& op) { add(op); }, plan_.operations[i]);
                ++i;
            }
        }
        if (plan_.rows_out.id != kNone) push(make_rows_out(plan_.rows_out));
        set_wanted_rows(out_.nodes);
        return std::move(out_);
    }

  private:
    void add(const compute::Embed& op) { push(make_embed(op, weight(op.table))); }
    void add(const compute::RmsNorm& op) { push(make_rms_norm(op, weight(op.weight))); }
    void add(const compute::Swiglu& op) { push(make_swiglu(op)); }
    void add(const compute::Add& op) { push(make_add(op)); }
    void add(const compute::RouteTopK& op) { push(make_route_top_k(op, optional(op.bias))); }

    void add(const compute::Rope& op) {
        for (const Angles& angles : angles_) {
            const bool is_same =
                angles.op->frequencies == op.frequencies && angles.op->magnitude == op.magnitude;
            if (is_same) return push(make_rope(op, angles.place));
        }
        const Place place =
            new_place(std::int64_t{2} * 4 * static_cast<std::int64_t>(op.frequencies.size()));
        angles_.push_back({&op, place});
        push(make_rope_angles(op, place));
        push(make_rope(op, place));
    }

    void add(const compute::Project& op) {
        const Place rounded = round(place_of(op.x), op.x.dim, weight(op.weight));
        push(make_project(op, rounded, weight(op.weight), optional(op.bias)));
    }

    void add(const GateUpPattern& pattern) {
        const Tensor& gate = weight(pattern.gate.weight);
        const Tensor& up = weight(pattern.up.weight);
        const Place x = place_of(pattern.gate.x);
        const std::int64_t dim = pattern.gate.x.dim;
        const Place rounded_x_gate = round(x, dim, gate);
        const Place rounded_x_up = round(x, dim, up);
        push(make_gate_up({gate, up, rounded_x_gate, rounded_x_up, place_of(pattern.swiglu.out)}));
    }

    void add(const compute::Logits& op) {
        const Place rounded = round(place_of(op.x), op.x.dim, weight(op.weight));
        push(make_logits(op, rounded, weight(op.weight)));
    }

    void add(const compute::Experts& op) {
        const ExpertsTensors tensors{weight(op.gate), weight(op.up), weight(op.down)};
        const std::int64_t ffn_dim = tensors.gate.shape.dim(1);
        const std::int64_t chosen = op.experts.dim;
        const Place x = place_of(op.x);
        const Place hidden = new_place(chosen * ffn_dim * 4);
        ExpertsPlaces places{.rounded_x_gate = round(x, op.x.dim, tensors.gate),
                             .rounded_x_up = round(x, op.x.dim, tensors.up),
                             .hidden = hidden,
                             .rounded_hidden = hidden};
        const ActivationFormat format = activation_format(tensors.down.dtype);
        if (format != ActivationFormat::f32) {
            places.rounded_hidden = new_place(chosen * activation_stride(format, ffn_dim));
        }
        ExpertsOps ops = make_experts(op, places, tensors, plan_.tokens_max);
        push(std::move(ops.up));
        if (format != ActivationFormat::f32) {
            push(make_quantise({hidden, format, chosen, ffn_dim, places.rounded_hidden}));
        }
        push(std::move(ops.down));
    }

    void add(const compute::AttentionGqa& op) {
        push(make_attention_gqa(op, new_outer_place(), plan_.tokens_max));
    }

    void add(const compute::AttentionMla& op) {
        if (op.out.id == kNone) return push(make_store_latent(op, new_outer_place()));
        if (latent_.work == nullptr) latent_ = {make_latent_work(op), new_outer_place()};
        push(make_attention_mla(op, new_outer_place(), weight(op.k_up), weight(op.v_up), latent_));
    }

    void push(std::unique_ptr<TokenOp> op) {
        forget_overwritten(*op);
        out_.nodes.push_back({.token_op = std::move(op)});
    }
    void push(std::unique_ptr<ParallelOp> op) {
        forget_overwritten(*op);
        out_.nodes.push_back({.parallel_op = std::move(op)});
    }
    void push(AttentionOps ops) {
        push(std::move(ops.store));
        push(std::move(ops.attend));
    }

    /// `x` in the form that `for_weight` wants; rounded here unless it has been already.
    Place round(const Place& x, std::int64_t dim, const Tensor& for_weight) {
        const ActivationFormat format = activation_format(for_weight.dtype);
        if (format == ActivationFormat::f32) return x;
        for (const Rounded& rounded : rounded_) {
            if (rounded.x == x && rounded.format == format) return rounded.place;
        }
        const Place place = new_place(activation_stride(format, dim));
        push(make_quantise({x, format, 1, dim, place}));
        rounded_.push_back({x, format, place});
        return place;
    }

    void forget_overwritten(const Op& op) {
        for (const Access& access : op.accesses()) {
            if (!access.is_write) continue;
            std::erase_if(rounded_,
                          [&](const Rounded& rounded) { return rounded.x.overlaps(access.place); });
        }
    }

    Place new_place(std::int64_t bytes) {
        out_.row_bytes.push_back(bytes);
        return {static_cast<BufferId>(out_.row_bytes.size() - 1), 0, bytes};
    }
    /// Stands for memory that is not the step's, as the rows of a layer's cache.
    Place new_outer_place() {
        out_.row_bytes.push_back(0);
        return {static_cast<BufferId>(out_.row_bytes.size() - 1), 0, 1};
    }

    [[nodiscard]] const Tensor& weight(WeightId id) const {
        return weights_[static_cast<std::size_t>(id)];
    }
    [[nodiscard]] const Tensor* optional(WeightId id) const {
        return id == kNone ? nullptr : &weight(id);
    }

    struct Rounded {
        Place x;
        ActivationFormat format;
        Place place;
    };
    struct Angles {
        const compute::Rope* op;
        Place place;
    };

    const Plan& plan_;
    std::span<const Tensor> weights_;
    CompiledPlan out_;
    std::vector<Rounded> rounded_;  ///< whose values still hold what was rounded
    std::vector<Angles> angles_;
    SharedLatentWork latent_;  ///< once there is a layer that wants it
};

}  // namespace

CompiledPlan compile_plan(const Plan& plan, std::span<const Tensor> weights) {
    return Compiler(plan, weights).run();
}

}  // namespace hearth::cpu
