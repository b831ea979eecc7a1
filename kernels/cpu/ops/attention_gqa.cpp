// AttentionGqa: units are (tile of tokens, KV head, part of the KV head's queries), so that a key
// row is converted once for several queries. Reads head_dim keys and value_dim values per cached
// token and unit; bound by the products for many queries, by the cache's bytes for one.
#include <algorithm>

#include "kernels/cpu/ops/attention.h"
#include "kernels/cpu/ops/ops.h"

namespace hearth::cpu {
namespace {

class StoreGqaOp final : public TokenOp {
  public:
    StoreGqaOp(const compute::AttentionGqa& op, const Place& cache)
        : k_(place_of(op.k)),
          v_(place_of(op.v)),
          layer_(op.layer),
          key_dim_(op.k.dim),
          value_dim_(op.v.dim) {
        reads(k_);
        reads(v_);
        writes(cache);
    }

    [[nodiscard]] bool outlives_step() const override { return true; }

    void run(const Step& step, std::int64_t token, Scratch) const override {
        store_keys(step, token, layer_, step.row<float>(k_, token), key_dim_);
        store_values(step, token, layer_, step.row<float>(v_, token), value_dim_);
    }

  private:
    Place k_, v_;
    std::int32_t layer_;
    std::int64_t key_dim_, value_dim_;
};

class AttendGqaOp final : public ParallelOp {
  public:
    AttendGqaOp(const compute::AttentionGqa& op, const Place& cache, std::int64_t tokens_max)
        : op_(op),
          q_(place_of(op.q)),
          out_(place_of(op.out)),
          group_(op.heads / op.kv_heads),
          part_(std::min<std::int64_t>(group_, kAttendRows)),
          parts_((group_ + part_ - 1) / part_) {
        tiles_.reserve(static_cast<std::size_t>(tokens_max));
        reads(q_);
        reads(cache);
        writes(out_);
    }

    void prepare(const Step& step) override { cut_tiles(step, kAttendRows / part_, tiles_); }
    [[nodiscard]] std::int64_t unit_count(const Step&) const override {
        return static_cast<std::int64_t>(tiles_.size()) * op_.kv_heads * parts_;
    }
    [[nodiscard]] std::int64_t scratch_bytes() const override {
        return QueryRows::bytes(op_.head_dim, op_.value_dim);
    }

    void run(const Step& step, std::int64_t unit, Scratch scratch) const override {
        const std::int64_t kv_head = unit / parts_ % op_.kv_heads;
        const TokenTile tile = tiles_[static_cast<std::size_t>(unit / parts_ / op_.kv_heads)];
        const std::int64_t head = kv_head * group_ + unit % parts_ * part_;
        const std::int64_t heads = std::min(part_, (kv_head + 1) * group_ - head);
        const QueryRows state(scratch, op_.head_dim, op_.value_dim);
        // Row t * heads + h is head (head + h) of the tile's token t.
        for (std::int64_t t = 0; t < tile.count; ++t) {
            std::copy_n(step.row<float>(q_, tile.first + t) + head * op_.head_dim,
                        heads * op_.head_dim,
                        state.queries + t * heads * op_.head_dim);
            std::fill_n(state.positions + t * heads, heads, step.position(tile.first + t));
        }
        attend_sequence(step,
                        tile.first,
                        {.layer = op_.layer,
                         .key_offset = kv_head * op_.head_dim,
                         .key_dim = op_.head_dim,
                         .value_offset = kv_head * op_.value_dim,
                         .value_dim = op_.value_dim},
                        tile.count * heads,
                        op_.scale,
                        state);
        for (std::int64_t t = 0; t < tile.count; ++t) {
            std::copy_n(state.out + t * heads * op_.value_dim,
                        heads * op_.value_dim,
                        step.row<float>(out_, tile.first + t) + head * op_.value_dim);
        }
    }

  private:
    compute::AttentionGqa op_;
    Place q_, out_;
    std::int64_t group_;  ///< query heads per KV head
    std::int64_t part_;   ///< query heads per unit
    std::int64_t parts_;  ///< units per KV head
    std::vector<TokenTile> tiles_;
};

}  // namespace

AttentionOps make_attention_gqa(const compute::AttentionGqa& op,
                                const Place& cache,
                                std::int64_t tokens_max) {
    return {std::make_unique<StoreGqaOp>(op, cache),
            std::make_unique<AttendGqaOp>(op, cache, tokens_max)};
}

}  // namespace hearth::cpu
