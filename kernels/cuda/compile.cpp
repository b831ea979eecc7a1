#include "kernels/cuda/compile.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include "kernels/cuda/compile_attention.h"
#include "kernels/cuda/compile_experts.h"
#include "kernels/cuda/head_jobs.h"
#include "kernels/cuda/norm_readers.h"
#include "kernels/cuda/project.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/values.h"

namespace hearth::cuda {
namespace {

using compute::kNone;
using compute::Plan;
using compute::Slice;
using compute::WeightId;

/// How many operations there are up to the last one that leaves something for later steps.
std::size_t stored_until(const Plan& plan) {
    if (plan.rows_out.id != kNone) return plan.operations.size();
    const auto is_attention = [](const compute::Operation& operation) {
        return std::holds_alternative<compute::AttentionGqa>(operation) ||
               std::holds_alternative<compute::AttentionMla>(operation);
    };
    const auto last =
        std::ranges::find_if(plan.operations.rbegin(), plan.operations.rend(), is_attention);
    return static_cast<std::size_t>(plan.operations.rend() - last);
}

/// Tokens for which the router's weights may be read once each.
constexpr int kRouterTokensMax = 8;

class Compiler {
  public:
    Compiler(const Plan& plan,
             const CudaWeights& weights,
             const CompileOptions& options,
             const StepTables& step,
             Workspace& workspace)
        : plan_(plan),
          weights_(weights),
          options_(options),
          step_(step),
          workspace_(workspace),
          values_(plan, workspace),
          stored_until_(stored_until(plan)),
          attention_(plan, weights, step, options, workspace, values_, hooks()) {
        out_.logit_values = workspace.take<float>(options.logit_rows_max * plan.vocab_size);
    }

    Result<CompiledPlan> run() && {
        while (next_ < plan_.operations.size()) {
            if (const auto run = find_heads_run(plan_, next_)) {
                attention_.prepare(*run);
                next_ = run->attention;
            }
            const compute::Operation& operation = plan_.operations[next_++];
            HEARTH_CHECK(std::visit([this](const auto& op) { return add(op); }, operation));
        }
        out_.expands = attention_.expands();
        if (plan_.rows_in.id != kNone) out_.rows_in = values_.floats(plan_.rows_in).data;
        if (plan_.rows_out.id != kNone) out_.rows_out = values_.floats(plan_.rows_out).data;
        return std::move(out_);
    }

  private:
    Result<void> add(const compute::Embed& op);
    Result<void> add(const compute::RmsNorm& op);
    Result<void> add(const compute::Project& op);
    Result<void> add(const compute::Rope& op);
    Result<void> add(const compute::AttentionGqa& op) { return attention_.add(op); }
    Result<void> add(const compute::AttentionMla& op) { return attention_.add(op); }
    Result<void> add(const compute::RouteTopK& op);
    Result<void> add(const compute::Experts& op);
    Result<void> add(const compute::Swiglu& op);
    Result<void> add(const compute::Add& op);
    Result<void> add(const compute::Logits& op);

    template <typename Launch>
    void push(std::string_view name, const Launch& launch) {
        out_.nodes.push_back({.name = std::string(name),
                              .launch = launch,
                              .serves_one = next_ > joined_until_,
                              .serves_logits = next_ > stored_until_});
    }
    [[nodiscard]] bool is_rounding(WeightId id) const {
        return !options_.is_exact && is_quantised(weights_.matrix(id).format);
    }
    Q8Rows rounded(const Slice& slice) {
        return values_.rounded(slice, [this](const FloatRows& x, const Q8Rows& rows) {
            push("quantise", [x, rows](const StepShape& shape, Queue queue) {
                return quantise(x, rows, shape.tokens, queue);
            });
        });
    }
    [[nodiscard]] ProjectPart part_of(const compute::Project& op) const;
    [[nodiscard]] bool joins(const std::vector<const compute::Project*>& group,
                             const compute::Project& next) const;
    const float2* angles_of(const compute::Rope& op);
    AttentionHooks hooks() {
        return {.push = [this](std::string_view name, auto launch) { push(name, launch); },
                .angles_of = [this](const compute::Rope& op) { return angles_of(op); }};
    }
    [[nodiscard]] RouteArgs route_args(const compute::RouteTopK& op) const;
    [[nodiscard]] const compute::RouteTopK* route_of(std::size_t project) const;
    bool join_router(const compute::Project& op);
    [[nodiscard]] bool rounds_up(const compute::Experts& op) const {
        return is_rounding(op.gate) && is_rounding(op.up);
    }
    [[nodiscard]] std::optional<SharedPattern> shared_of(std::size_t experts) const;
    std::size_t join_shared(ExpertsNode& node) const;
    [[nodiscard]] std::size_t norm_reader(std::size_t first) const;

    const Plan& plan_;
    const CudaWeights& weights_;
    const CompileOptions& options_;
    const StepTables step_;
    Workspace& workspace_;
    Values values_;
    const std::size_t stored_until_;  ///< operations, up to the last that leaves something
    AttentionCompiler attention_;
    std::size_t next_ = 0;          ///< operation
    std::size_t joined_until_ = 0;  ///< operations that an expert block has taken in, for one token
    bool is_router_joined_ = false;  ///< the next choice is made with the router's product
    std::int32_t* router_done_ = nullptr;
    CompiledPlan out_;

    struct Angles {
        const compute::Rope* op;
        const float2* values;
    };
    std::vector<Angles> angles_;
    std::optional<ExpertsRoom> experts_room_;
};

Result<void> Compiler::add(const compute::Embed& op) {
    const EmbedArgs args{weights_.matrix(op.table), values_.floats(op.out), op.scale};
    push("embed", [args, step = step_](const StepShape& shape, Queue queue) {
        return embed(args, step, shape.tokens, queue);
    });
    values_.wrote(op.out);
    return {};
}

Result<void> Compiler::add(const compute::RmsNorm& op) {
    auto args = std::make_shared<RmsNormArgs>();
    args->x = values_.floats(op.x);
    args->weight = weights_.vector(op.weight);
    args->out = values_.floats(op.out);
    args->groups = static_cast<int>(op.x.dim / op.group_dim);
    args->group_dim = static_cast<int>(op.group_dim);
    args->epsilon = op.epsilon;
    push("rms_norm", [args](const StepShape& shape, Queue queue) {
        return rms_norm(*args, shape.tokens, queue);
    });
    const bool is_left = readers_can_norm(
        plan_, next_ - 1, [this](std::size_t first) { return norm_reader(first); });
    out_.nodes.back().serves_one = !is_left;
    NormInput norm;
    if (is_left) {
        norm = {args->x.data, args->weight, static_cast<std::int32_t>(op.x.dim), op.epsilon};
    }
    values_.wrote(op.out, op.group_dim % kChunkWeights == 0 ? &args->rounded : nullptr, norm);
    return {};
}

/// As NormReader: the operations from `first` on whose kernels for one token can norm their input.
std::size_t Compiler::norm_reader(std::size_t first) const {
    const compute::Operation& operation = plan_.operations[first];
    if (const auto* project = std::get_if<compute::Project>(&operation)) {
        const bool can = is_rounding(project->weight) ? project->out.dim <= kNormRowsMax
                                                      : route_of(first) != nullptr;
        return can ? 1 : 0;
    }
    const auto* experts = std::get_if<compute::Experts>(&operation);
    if (experts == nullptr || !rounds_up(*experts)) return 0;
    const auto shared = shared_of(first);
    return shared ? 1 + shared->operations : 1;
}

ProjectPart Compiler::part_of(const compute::Project& op) const {
    return {.weight = weights_.matrix(op.weight),
            .rows = static_cast<std::int32_t>(op.out.dim),
            .bias = op.bias == kNone ? nullptr : weights_.vector(op.bias),
            .residual = op.residual.id == kNone ? FloatRows{} : values_.floats(op.residual),
            .out = values_.floats(op.out)};
}

/// Whether one kernel can compute `next` together with `group`: of one input and one way of
/// computing, and no part touches what another one writes.
bool Compiler::joins(const std::vector<const compute::Project*>& group,
                     const compute::Project& next) const {
    const compute::Project& first = *group.front();
    const bool is_same_input = first.x.id == next.x.id && first.x.offset == next.x.offset;
    const bool is_same_way = is_rounding(first.weight) == is_rounding(next.weight) &&
                             (is_rounding(next.weight) || weights_.matrix(first.weight).format ==
                                                              weights_.matrix(next.weight).format);
    if (!is_same_input || !is_same_way || group.size() == kProjectPartsMax) return false;
    if (overlap(next.out, next.x)) return false;
    return std::ranges::none_of(group, [&](const compute::Project* each) {
        return overlap(each->out, next.out) || overlap(each->out, next.x) ||
               overlap(each->out, next.residual) || overlap(each->residual, next.out);
    });
}

Result<void> Compiler::add(const compute::Project& op) {
    if (join_router(op)) return {};
    std::vector<const compute::Project*> group{&op};
    while (next_ < plan_.operations.size()) {
        const auto* following = std::get_if<compute::Project>(&plan_.operations[next_]);
        if (following == nullptr || !joins(group, *following)) break;
        group.push_back(following);
        ++next_;
    }
    ProjectArgs args;
    for (const compute::Project* each : group) {
        args.parts[args.part_count++] = part_of(*each);
    }
    if (is_rounding(op.weight)) {
        args.x = rounded(op.x);
        args.norm = values_.norm_of(op.x);
        push("project_q8", [args](const StepShape& shape, Queue queue) {
            return project_q8(args, shape.tokens, queue);
        });
    } else {
        args.x_float = values_.floats(op.x);
        push("project_float", [args](const StepShape& shape, Queue queue) {
            return project_float(args, shape.tokens, queue);
        });
    }
    for (const compute::Project* each : group) {
        values_.wrote(each->out);
    }
    return {};
}

/// Rotations by the same frequencies share their angles, which are computed once per step.
const float2* Compiler::angles_of(const compute::Rope& op) {
    for (const Angles& each : angles_) {
        if (each.op->frequencies == op.frequencies && each.op->magnitude == op.magnitude) {
            return each.values;
        }
    }
    const auto pairs = static_cast<std::int64_t>(op.frequencies.size());
    auto* frequencies = workspace_.take<float>(pairs);
    out_.constants.push_back({frequencies, op.frequencies});
    const RopeAnglesArgs args{.frequencies = frequencies,
                              .angles = workspace_.take<float2>(plan_.tokens_max * pairs),
                              .pairs = static_cast<int>(pairs),
                              .magnitude = op.magnitude};
    push("rope_angles", [args, step = step_](const StepShape& shape, Queue queue) {
        return rope_angles(args, step, shape.tokens, queue);
    });
    angles_.push_back({&op, args.angles});
    return args.angles;
}

Result<void> Compiler::add(const compute::Rope& op) {
    const RopeArgs args{.x = values_.floats(op.x),
                        .angles = angles_of(op),
                        .pairs = static_cast<int>(op.frequencies.size()),
                        .heads = static_cast<int>(op.heads),
                        .head_dim = static_cast<int>(op.head_dim),
                        .rotate_offset = static_cast<int>(op.rotate_offset),
                        .is_interleaved = op.style == compute::RopeStyle::interleaved};
    push("rope",
         [args](const StepShape& shape, Queue queue) { return rope(args, shape.tokens, queue); });
    values_.wrote(op.x);
    return {};
}

RouteArgs Compiler::route_args(const compute::RouteTopK& op) const {
    return {.logits = values_.floats(op.logits),
            .bias = op.bias == kNone ? nullptr : weights_.vector(op.bias),
            .experts = values_.ints(op.experts),
            .weights = values_.floats(op.weights),
            .expert_count = static_cast<int>(op.logits.dim),
            .experts_per_token = static_cast<int>(op.experts.dim),
            .group_count = static_cast<int>(op.group_count),
            .groups_used = static_cast<int>(op.groups_used),
            .scale = op.scale,
            .is_softmax = op.gating == compute::Gating::softmax,
            .normalises = op.normalise};
}

Result<void> Compiler::add(const compute::RouteTopK& op) {
    if (op.logits.dim > kExpertsMax) {
        return fail(ErrorCode::unsupported,
                    "the cuda backend serves at most " + std::to_string(kExpertsMax) +
                        " experts, this model has " + std::to_string(op.logits.dim),
                    "cuda");
    }
    push("route_top_k",
         [args = route_args(op), is_joined = std::exchange(is_router_joined_, false), step = step_](
             const StepShape& shape, Queue queue) {
             if (is_joined && shape.tokens <= kRouterTokensMax) return Result<void>();
             return route_top_k(args, step, shape.tokens, queue);
         });
    values_.wrote(op.experts);
    values_.wrote(op.weights);
    return {};
}

/// The choice that comes right after a router of floats, where one kernel can do both.
const compute::RouteTopK* Compiler::route_of(std::size_t project) const {
    if (project + 1 >= plan_.operations.size()) return nullptr;
    const auto& op = std::get<compute::Project>(plan_.operations[project]);
    const auto* route = std::get_if<compute::RouteTopK>(&plan_.operations[project + 1]);
    const bool fits = route != nullptr && is_same(route->logits, op.out) &&
                      route->logits.dim <= kExpertsMax && !is_rounding(op.weight) &&
                      op.bias == kNone && op.residual.id == kNone;
    return fits ? route : nullptr;
}

/// A router of floats whose choice comes next: one kernel for few tokens.
bool Compiler::join_router(const compute::Project& op) {
    const compute::RouteTopK* route = route_of(next_ - 1);
    if (route == nullptr) return false;
    if (router_done_ == nullptr) {
        router_done_ = workspace_.take<std::int32_t>(kRouterTokensMax);
        // Zeros, as floats and as integers.
        out_.constants.push_back({router_done_, std::vector<float>(kRouterTokensMax)});
    }
    const RouterArgs args{.route = route_args(*route),
                          .weight = weights_.matrix(op.weight),
                          .x = values_.floats(op.x),
                          .norm = values_.norm_of(op.x),
                          .done = router_done_};
    ProjectArgs many;
    many.parts[0] = part_of(op);
    many.part_count = 1;
    many.x_float = args.x;
    push("router", [args, many, step = step_](const StepShape& shape, Queue queue) {
        if (shape.tokens > kRouterTokensMax) return project_float(many, shape.tokens, queue);
        RouterArgs now = args;
        if (shape.tokens > 1) now.norm = {};
        return route_from_weights(now, step, shape.tokens, queue);
    });
    values_.wrote(op.out);
    is_router_joined_ = true;
    return true;
}

Result<void> Compiler::add(const compute::Experts& op) {
    if (!experts_room_) experts_room_ = make_experts_room(plan_, weights_, workspace_);
    ExpertsNode node{
        .gate = weights_.matrix(op.gate),
        .up = weights_.matrix(op.up),
        .down = weights_.matrix(op.down),
        .expert_count = static_cast<int>(weights_.tensor(op.gate).shape.dim(0)),
        .ffn_dim = static_cast<int>(weights_.tensor(op.gate).shape.dim(1)),
        .x = values_.floats(op.x),
        .experts = values_.ints(op.experts),
        .weights = values_.floats(op.weights),
        .residual = op.residual.id == kNone ? FloatRows{} : values_.floats(op.residual),
        .out = values_.floats(op.out),
        .rows = static_cast<int>(op.out.dim),
        .experts_per_token = static_cast<int>(op.experts.dim),
        .room = *experts_room_};
    node.rounds_up = rounds_up(op);
    node.rounds_down = is_rounding(op.down);
    if (node.rounds_up) {
        node.x_rounded = rounded(op.x);
        node.norm = values_.norm_of(op.x);
    }
    const std::size_t joined = join_shared(node);
    push("experts", [node](const StepShape& shape, Queue queue) {
        return run_experts(node, shape.tokens, queue);
    });
    joined_until_ = joined;
    values_.wrote(op.out);
    return {};
}

/// The shared expert that follows an Experts operation, where the one-token kernels can take it in.
std::optional<SharedPattern> Compiler::shared_of(std::size_t experts) const {
    const auto& op = std::get<compute::Experts>(plan_.operations[experts]);
    auto pattern = find_shared_expert(plan_, experts);
    if (!pattern || !rounds_up(op) || !is_rounding(op.down)) return std::nullopt;
    for (const compute::Project* each : {pattern->gate, pattern->up, pattern->down}) {
        if (!is_rounding(each->weight)) return std::nullopt;
    }
    return pattern;
}

/// Takes the shared expert that follows into the one-token kernels. Gives the place behind its
/// operations, or 0.
std::size_t Compiler::join_shared(ExpertsNode& node) const {
    const auto pattern = shared_of(next_ - 1);
    if (!pattern) return 0;
    const auto ffn_dim = static_cast<std::int32_t>(pattern->gate->out.dim);
    node.shared = {.gate = weights_.matrix(pattern->gate->weight),
                   .up = weights_.matrix(pattern->up->weight),
                   .down = weights_.matrix(pattern->down->weight),
                   .hidden = {node.room.shared_quants, node.room.shared_scales, ffn_dim},
                   .ffn_dim = ffn_dim};
    return next_ + pattern->operations;
}

Result<void> Compiler::add(const compute::Swiglu& op) {
    auto args = std::make_shared<PairwiseArgs>();
    args->a = values_.floats(op.gate);
    args->b = values_.floats(op.up);
    args->out = values_.floats(op.out);
    args->dim = static_cast<int>(op.out.dim);
    push("swiglu", [args](const StepShape& shape, Queue queue) {
        return swiglu(*args, shape.tokens, queue);
    });
    values_.wrote(op.out, op.out.dim % kChunkWeights == 0 ? &args->rounded : nullptr);
    return {};
}

Result<void> Compiler::add(const compute::Add& op) {
    const PairwiseArgs args{.a = values_.floats(op.a),
                            .b = values_.floats(op.b),
                            .out = values_.floats(op.out),
                            .dim = static_cast<int>(op.out.dim)};
    push("add", [args](const StepShape& shape, Queue queue) {
        return cuda::add(args, shape.tokens, queue);
    });
    values_.wrote(op.out);
    return {};
}

Result<void> Compiler::add(const compute::Logits& op) {
    ProjectArgs args;
    args.parts[0] = {.weight = weights_.matrix(op.weight),
                     .rows = static_cast<std::int32_t>(plan_.vocab_size),
                     .out = {out_.logit_values, plan_.vocab_size},
                     .scale = op.scale};
    args.part_count = 1;
    const bool is_rounded = is_rounding(op.weight);
    if (is_rounded) {
        args.x = rounded(op.x);
    } else {
        args.x_float = values_.floats(op.x);
    }
    out_.logits.push_back(
        {"logits", [args, is_rounded, step = step_](const StepShape& shape, Queue queue) {
             if (shape.logit_rows == 0) return Result<void>();
             ProjectArgs now = args;
             now.row_map = step.logit_rows + shape.logit_first;
             now.count = shape.counts_logits ? &step.header->logit_count : nullptr;
             return is_rounded ? project_q8(now, shape.logit_rows, queue)
                               : project_float(now, shape.logit_rows, queue);
         }});
    return {};
}

}  // namespace

Result<CompiledPlan> compile_plan(const compute::Plan& plan,
                                  const CudaWeights& weights,
                                  const CompileOptions& options,
                                  const StepTables& step,
                                  Workspace& workspace) {
    return Compiler(plan, weights, options, step, workspace).run();
}

}  // namespace hearth::cuda
