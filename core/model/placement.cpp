#include "core/model/placement.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <variant>

namespace hearth::model {
namespace {

using compute::Plan;
using compute::Tensor;
using compute::WeightId;

constexpr std::int64_t kFloatBytes = 4;
// An activation rounded to int8 comes with a scale and a sum for every 32.
constexpr std::int64_t kRoundedElements = 32, kRoundedBytes = 36;

/// The experts of one layer: where they are and what one of them takes.
struct ExpertLayer {
    std::array<WeightId, 3> weights;
    std::int64_t expert_count, experts_per_token;
    std::int64_t whole_bytes = 0, slot_bytes = 0;
};

/// Null: another operation, or one that only leaves rows in the cache.
const compute::AttentionMla* latent_attention(const compute::Operation& operation) {
    const auto* op = std::get_if<compute::AttentionMla>(&operation);
    return op != nullptr && op->out.id != compute::kNone ? op : nullptr;
}

class Counter {
  public:
    Counter(const Model& model, const PlacementRequest& request)
        : request_(request),
          prediction_(request.draft_tokens > 0
                          ? model.prediction(request.step_tokens, request.draft_tokens)
                          : std::nullopt),
          plan_(prediction_ ? prediction_->trunk : model.plan(request.step_tokens)),
          weights_(model.weights()),
          context_max_(model.config().context_length),
          splits_(split_sizes(request.context_tokens > 0 ? request.context_tokens : context_max_,
                              request.costs.split_tokens)) {
        for (const compute::Operation& operation : plan_.operations) {
            if (const auto* experts = std::get_if<compute::Experts>(&operation)) add(*experts);
        }
    }

    Placement run() {
        placement_.reserve_bytes = request_.costs.reserve_bytes;
        add_program(plan_);
        if (prediction_) {
            add_program(prediction_->store);
            add_program(prediction_->draft);
        }
        for (const Tensor& weight : weights_) {
            placement_.weight_bytes += aligned(static_cast<std::int64_t>(weight.bytes.size()));
        }
        for (const ExpertLayer& layer : layers_) {
            placement_.expert_slots.push_back(static_cast<std::int32_t>(layer.expert_count));
        }
        set_context(request_.context_tokens > 0 ? request_.context_tokens
                                                : std::min(kContextTokensMin, context_max_));
        if (room() < 0 && may_move_experts()) move_experts_out();
        placement_.missing_bytes = std::max<std::int64_t>(0, -room());
        if (room() > 0 && placement_.host_bytes == 0) {
            if (request_.context_tokens == 0) grow_context();
            grow_cache();
        }
        name_host_experts();
        return placement_;
    }

  private:
    [[nodiscard]] std::int64_t aligned(std::int64_t bytes) const {
        const std::int64_t to = request_.costs.alignment_bytes;
        return (bytes + to - 1) / to * to;
    }
    [[nodiscard]] std::int64_t room() const {
        return request_.free_bytes - placement_.device_bytes();
    }

    void add(const compute::Experts& op) {
        ExpertLayer layer{.weights = {op.gate, op.up, op.down},
                          .expert_count = weight(op.gate).shape.dim(0),
                          .experts_per_token = op.experts.dim};
        for (const WeightId id : layer.weights) {
            const auto bytes = static_cast<std::int64_t>(weight(id).bytes.size());
            layer.whole_bytes += aligned(bytes);
            layer.slot_bytes += aligned(bytes / layer.expert_count);
        }
        layers_.push_back(layer);
    }

    [[nodiscard]] bool may_move_experts() const {
        return request_.costs.can_leave_experts && !layers_.empty();
    }

    void add_program(const Plan& plan) {
        placement_.graph_bytes += request_.costs.graph_sizes * splits_.count *
                                  request_.costs.graph_bytes_per_operation *
                                  static_cast<std::int64_t>(plan.operations.size());
        placement_.workspace_bytes += workspace_bytes(plan);
    }

    [[nodiscard]] std::int64_t workspace_bytes(const Plan& plan) const {
        const std::int64_t tokens = plan.tokens_max;
        std::int64_t bytes = 0;
        std::int64_t widest = 0;
        for (const compute::Value& value : plan.values) {
            bytes += aligned(tokens * value.dim * kFloatBytes);
            widest = std::max(widest, value.dim);
        }
        std::int64_t hidden_dim = 0;  // of the experts' or the latent attention's inner values
        std::int64_t mixed_dim = 0;   // of the latents that a token's heads mix, and their sums
        std::int64_t expanded_bytes = 0;
        for (const compute::Operation& operation : plan.operations) {
            if (const auto* experts = std::get_if<compute::Experts>(&operation)) {
                hidden_dim =
                    std::max(hidden_dim, experts->experts.dim * weight(experts->gate).shape.dim(1));
            } else if (const auto* mla = latent_attention(operation)) {
                hidden_dim = std::max(hidden_dim, mla->heads * mla->latent_dim);
                mixed_dim = std::max(mixed_dim, mla->heads * (mla->latent_dim + 2));
                expanded_bytes = request_.costs.expanded_bytes;
            }
        }
        widest = std::max(widest, hidden_dim);
        const std::int64_t rounded =
            (widest + kRoundedElements - 1) / kRoundedElements * kRoundedBytes;
        return bytes + aligned(tokens * hidden_dim * kFloatBytes) +
               aligned(tokens * mixed_dim * kFloatBytes) + aligned(tokens * rounded) +
               aligned(logit_rows(plan) * plan.vocab_size * kFloatBytes) + expanded_bytes +
               split_bytes(plan) + request_.costs.step_bytes;
    }

    /// What splits leave to be merged: the values of each head, a maximum and a sum.
    [[nodiscard]] std::int64_t split_bytes(const Plan& plan) const {
        std::int64_t row = 0;
        for (const compute::Operation& operation : plan.operations) {
            if (const auto* gqa = std::get_if<compute::AttentionGqa>(&operation)) {
                row = std::max(row, gqa->heads * (gqa->value_dim + 2) * kFloatBytes);
            } else if (const auto* mla = latent_attention(operation)) {
                row = std::max(row, mla->heads * (mla->latent_dim + 2) * kFloatBytes);
            }
        }
        if (row == 0) return 0;
        const DeviceCosts& costs = request_.costs;
        const std::int64_t tokens = std::min(plan.tokens_max, costs.split_token_max);
        const std::int64_t rows = std::min(tokens * splits_.most, costs.split_bytes / row);
        return aligned(std::max(splits_.most, rows) * row);
    }

    [[nodiscard]] std::int64_t logit_rows(const Plan& plan) const {
        return std::min(plan.tokens_max,
                        std::max(request_.sequence_count, request_.costs.logit_rows));
    }

    /// Of one block of cache.
    [[nodiscard]] std::int64_t block_bytes() const {
        compute::KvLayout layout = plan_.kv;
        layout.dtype = request_.costs.cache_type;
        return std::int64_t{compute::kBlockTokens} * compute::cache_bytes_per_token(layout);
    }
    /// How many blocks there could be.
    [[nodiscard]] std::int64_t blocks_max() const {
        return (placement_.cache_bytes + room()) / block_bytes();
    }
    static std::int64_t blocks_for(std::int64_t tokens) {
        return (tokens + compute::kBlockTokens - 1) / compute::kBlockTokens;
    }
    void set_cache(std::int64_t blocks) {
        placement_.cache_tokens = static_cast<std::int32_t>(blocks * compute::kBlockTokens);
        placement_.cache_bytes = blocks * block_bytes();
    }
    void set_context(std::int64_t tokens) {
        placement_.context_tokens = static_cast<std::int32_t>(tokens);
        set_cache(request_.sequence_count * blocks_for(tokens));
    }
    void grow_context() {
        const std::int64_t blocks = blocks_max() / request_.sequence_count;
        set_context(std::min<std::int64_t>(context_max_, blocks * compute::kBlockTokens));
    }
    void grow_cache() {
        const std::int64_t wanted = std::min(blocks_for(request_.cache_tokens), blocks_max());
        if (wanted > blocks_for(placement_.cache_tokens)) set_cache(wanted);
    }

    void name_host_experts() {
        for (std::size_t i = 0; i < layers_.size(); ++i) {
            const ExpertLayer& layer = layers_[i];
            const std::int32_t slots = placement_.expert_slots[i];
            if (slots == layer.expert_count) continue;
            placement_.host_experts.push_back(
                {layer.weights[0], layer.weights[1], layer.weights[2], slots});
        }
    }

    void set_slots(std::size_t index, std::int64_t slots) {
        const ExpertLayer& layer = layers_[index];
        auto& current = placement_.expert_slots[index];
        const auto add = [&](std::int64_t count, std::int64_t sign) {
            const bool is_whole = count == layer.expert_count;
            placement_.weight_bytes += is_whole ? sign * layer.whole_bytes : 0;
            placement_.expert_cache_bytes += is_whole ? 0 : sign * count * layer.slot_bytes;
            placement_.host_bytes += is_whole ? 0 : sign * layer.whole_bytes;
        };
        add(current, -1);
        add(slots, 1);
        current = static_cast<std::int32_t>(slots);
    }

    /// A token needs room for all its experts; beyond that every layer gets as many slots as fit,
    /// the first layers one more where some bytes are left.
    void move_experts_out() {
        std::int64_t all_slots_bytes = 0;
        for (std::size_t i = 0; i < layers_.size(); ++i) {
            set_slots(i, layers_[i].experts_per_token);
            all_slots_bytes += layers_[i].slot_bytes;
        }
        if (room() < 0) return;
        const std::int64_t more = room() / all_slots_bytes;
        for (std::size_t i = 0; i < layers_.size(); ++i) {
            const ExpertLayer& layer = layers_[i];
            set_slots(i, std::min(layer.expert_count, layer.experts_per_token + more));
        }
        for (std::size_t i = 0; i < layers_.size(); ++i) {
            const bool fits = layers_[i].slot_bytes <= room();
            if (fits && placement_.expert_slots[i] < layers_[i].expert_count) {
                set_slots(i, placement_.expert_slots[i] + 1);
            }
        }
    }

    [[nodiscard]] const Tensor& weight(WeightId id) const {
        return weights_[static_cast<std::size_t>(id)];
    }

    const PlacementRequest& request_;
    const std::optional<PredictionPlans> prediction_;
    const Plan plan_;
    const std::span<const Tensor> weights_;
    const std::int32_t context_max_;
    const SplitSizes splits_;  ///< of the longest context that may be chosen
    std::vector<ExpertLayer> layers_;
    Placement placement_;
};

}  // namespace

DeviceCosts device_costs(std::string_view backend, compute::Dtype cache_type) {
    if (backend == "cuda") {
        return {.alignment_bytes = 256,
                .cache_type = cache_type,
                .graph_sizes = 9,
                .graph_bytes_per_operation = 4096,
                .reserve_bytes = std::int64_t{256} << 20,
                .step_bytes = std::int64_t{4} << 20,
                .split_tokens = 64,
                .split_token_max = 64,
                .split_bytes = std::int64_t{132} << 20,
                .expanded_bytes = std::int64_t{32} << 20,
                .logit_rows = 64};
    }
    return {.alignment_bytes = 64,
            .cache_type = backend == "reference" ? compute::Dtype::f32 : cache_type,
            .can_leave_experts = false};
}

SplitSizes split_sizes(std::int64_t positions, std::int64_t split_tokens) {
    if (split_tokens == 0) return {};
    constexpr std::int64_t kFirst = 4, kGrowth = 4, kMost = 16384;
    SplitSizes sizes{
        .most = std::clamp<std::int64_t>((positions + split_tokens - 1) / split_tokens, 1, kMost)};
    for (std::int64_t size = kFirst; size < sizes.most; size *= kGrowth) {
        ++sizes.count;
    }
    return sizes;
}

std::int32_t prompt_tokens_per_step(std::string_view backend, const ModelConfig& config) {
    constexpr std::int32_t kUsual = 256;
    // Of an expert in a step, on average: with fewer, laying it out takes a fifth of the time.
    constexpr std::int32_t kExpertTokensMin = 32;
    if (backend == "cuda") return kUsual;
    if (backend != "cpu") return kUsual / 2;
    const bool are_few = kUsual * config.experts_per_token < kExpertTokensMin * config.expert_count;
    return are_few ? 2 * kUsual : kUsual;
}

Placement place(const Model& model, const PlacementRequest& request) {
    return Counter(model, request).run();
}

}  // namespace hearth::model
