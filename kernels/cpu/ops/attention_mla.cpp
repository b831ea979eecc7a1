// AttentionMla in its absorbed form: a head's query goes through k_up into the space of the
// latents, attends to the cached rows themselves, and the weighted latent goes through v_up. Units
// are (tile of tokens, group of heads) with up to kAttendRows queries over the same rows, so that a
// cached row is converted once for all of them. Always absorbed: prefill and decode then round
// alike.
#include <algorithm>
#include <array>

#include "kernels/cpu/ops/attention.h"
#include "kernels/cpu/ops/dot_tile.h"
#include "kernels/cpu/ops/ops.h"

namespace hearth::cpu {
namespace {

class StoreLatentOp final : public TokenOp {
  public:
    StoreLatentOp(const compute::AttentionMla& op, const Place& cache)
        : latent_(place_of(op.latent)),
          layer_(op.layer),
          dim_(op.latent.dim) {
        reads(latent_);
        writes(cache);
    }

    void run(const Step& step, std::int64_t token, Scratch) const override {
        store_keys(step, token, layer_, step.row<float>(latent_, token), dim_);
    }

  private:
    Place latent_;
    std::int32_t layer_;
    std::int64_t dim_;
};

class AttendMlaOp final : public ParallelOp {
  public:
    AttendMlaOp(const compute::AttentionMla& op,
                const Place& cache,
                const compute::Tensor& k_up,
                const compute::Tensor& v_up,
                std::int64_t tokens_max)
        : op_(op),
          q_(place_of(op.q)),
          out_(place_of(op.out)),
          k_up_(k_up),
          v_up_(v_up),
          key_dim_(op.latent_dim + op.rope_dim) {
        tiles_.reserve(static_cast<std::size_t>(tokens_max));
        reads(q_);
        reads(cache);
        writes(out_);
    }

    void prepare(const Step& step) override {
        cut_tiles(step, kAttendRows, tiles_);
        // For few tokens as many heads together as leaves every thread a unit.
        constexpr std::int64_t kHeadsMax = 8;
        std::int64_t longest = 1;
        for (const TokenTile& tile : tiles_) {
            longest = std::max(longest, tile.count);
        }
        const std::int64_t fair =
            op_.heads * static_cast<std::int64_t>(tiles_.size()) / step.thread_count;
        unit_heads_ = std::clamp<std::int64_t>(fair, 1, std::min(kHeadsMax, kAttendRows / longest));
        head_groups_ = (op_.heads + unit_heads_ - 1) / unit_heads_;
    }
    [[nodiscard]] std::int64_t unit_count(const Step&) const override {
        return static_cast<std::int64_t>(tiles_.size()) * head_groups_;
    }
    [[nodiscard]] std::int64_t scratch_bytes() const override {
        return QueryRows::bytes(key_dim_, op_.latent_dim) +
               Scratch::bytes<std::byte>(rounded_bytes()) +
               Scratch::bytes<std::byte>(panel_bytes());
    }

    void run(const Step& step, std::int64_t unit, Scratch scratch) const override {
        const TokenTile tile = tiles_[static_cast<std::size_t>(unit / head_groups_)];
        const std::int64_t head = unit % head_groups_ * unit_heads_;
        const std::int64_t heads = std::min(unit_heads_, op_.heads - head);
        const QueryRows state(scratch, key_dim_, op_.latent_dim);
        const Workspace work{scratch.take<std::byte>(rounded_bytes()),
                             scratch.take<std::byte>(panel_bytes())};
        // Row h * tile.count + t is head (head + h) of the tile's token t.
        for (std::int64_t h = 0; h < heads; ++h) {
            absorb(step, tile, head + h, work, state.queries + h * tile.count * key_dim_);
            for (std::int64_t t = 0; t < tile.count; ++t) {
                state.positions[h * tile.count + t] = step.position(tile.first + t);
            }
        }
        attend_sequence(step,
                        tile.first,
                        {.layer = op_.layer,
                         .key_offset = 0,
                         .key_dim = key_dim_,
                         .value_offset = 0,
                         .value_dim = op_.latent_dim,
                         .values_are_keys = true},
                        tile.count * heads,
                        op_.scale,
                        state);
        for (std::int64_t h = 0; h < heads; ++h) {
            const float* latents = state.out + h * tile.count * op_.latent_dim;
            dot(step,
                v_up_,
                {(head + h) * op_.value_dim, op_.value_dim},
                {latents, op_.latent_dim, tile.count},
                work,
                {step.row<float>(out_, tile.first) + (head + h) * op_.value_dim,
                 step.stride<float>(out_)});
        }
    }

  private:
    struct Inputs {
        const float* rows;
        std::int64_t stride;
        std::int64_t count;
    };
    struct Outputs {
        float* rows;
        std::int64_t stride;
    };

    struct Workspace {
        std::byte* rounded;
        std::byte* panels;
    };

    [[nodiscard]] std::int64_t panel_bytes() const {
        return std::max(k_up_.panel_bytes(), v_up_.panel_bytes());
    }
    [[nodiscard]] std::int64_t rounded_bytes() const {
        return kAttendRows * std::max(activation_stride(k_up_.format, k_up_.dim),
                                      activation_stride(v_up_.format, v_up_.dim));
    }

    /// The tile's queries of one head in the space of the cached rows.
    void absorb(const Step& step,
                TokenTile tile,
                std::int64_t head,
                const Workspace& work,
                float* queries) const {
        const std::int64_t stride = step.stride<float>(q_);
        const float* q = step.row<float>(q_, tile.first) + head * (op_.nope_dim + op_.rope_dim);
        dot(step,
            k_up_,
            {head * op_.latent_dim, op_.latent_dim},
            {q, stride, tile.count},
            work,
            {queries, key_dim_});
        for (std::int64_t t = 0; t < tile.count; ++t) {
            std::copy_n(q + t * stride + op_.nope_dim,
                        op_.rope_dim,
                        queries + t * key_dim_ + op_.latent_dim);
        }
    }

    static void dot(const Step& step,
                    const WeightRows& weight,
                    RowRange rows,
                    Inputs inputs,
                    const Workspace& work,
                    Outputs outputs) {
        const auto quantise = step.kernels.quantise[static_cast<std::size_t>(weight.format)];
        const std::int64_t rounded_stride = activation_stride(weight.format, weight.dim);
        std::array<const void*, kAttendRows> activations;
        for (std::int64_t i = 0; i < inputs.count; ++i) {
            const float* row = inputs.rows + i * inputs.stride;
            const void*& activation = activations[static_cast<std::size_t>(i)];
            activation = row;
            if (weight.format == ActivationFormat::f32) continue;
            std::byte* to = work.rounded + i * rounded_stride;
            quantise(row, weight.dim, to);
            activation = to;
        }
        weight.dot(step.kernels,
                   rows,
                   {activations.data(), static_cast<std::size_t>(inputs.count)},
                   outputs.rows,
                   outputs.stride,
                   work.panels);
    }

    compute::AttentionMla op_;
    Place q_, out_;
    WeightRows k_up_, v_up_;
    std::int64_t key_dim_;
    std::vector<TokenTile> tiles_;
    std::int64_t unit_heads_ = 1;
    std::int64_t head_groups_ = 1;
};

}  // namespace

AttentionOps make_attention_mla(const compute::AttentionMla& op,
                                const Place& cache,
                                const compute::Tensor& k_up,
                                const compute::Tensor& v_up,
                                std::int64_t tokens_max) {
    return {std::make_unique<StoreLatentOp>(op, cache),
            std::make_unique<AttendMlaOp>(op, cache, k_up, v_up, tokens_max)};
}

}  // namespace hearth::cpu
