// AttentionMla in its absorbed form: a head's query goes through k_up into the space of the
// latents, attends to the cached rows themselves, and the weighted latent goes through v_up. Up to
// kAttendRows queries of a tile of tokens and some heads look at the same rows, so that a cached
// row is converted once for all of them. Such a group is a unit, or, where groups are too few for
// the threads (decode), each of its stretches of positions is one: the first to come absorb, and
// the last to end merges. The numbers are the same. Bound by the products, but for few heads by
// the bytes of the cache.
#include <algorithm>
#include <array>

#include "kernels/cpu/ops/attention.h"
#include "kernels/cpu/ops/dot_tile.h"
#include "kernels/cpu/ops/latent_work.h"
#include "kernels/cpu/ops/ops.h"

namespace hearth::cpu {
namespace {

class StoreLatentOp final : public TokenOp {
  public:
    StoreLatentOp(const compute::AttentionMla& op, const Place& cache)
        : latent_(place_of(op.latent)),
          layer_(op.layer),
          key_dim_(op.latent.dim),
          value_dim_(op.latent_dim) {
        reads(latent_);
        writes(cache);
    }

    [[nodiscard]] bool outlives_step() const override { return true; }

    void run(const Step& step, std::int64_t token, Scratch) const override {
        store_latent(step, token, layer_, step.row<float>(latent_, token), key_dim_, value_dim_);
    }

  private:
    Place latent_;
    std::int32_t layer_;
    std::int64_t key_dim_, value_dim_;
};

struct FloatRows {
    const float* first;
    std::int64_t stride;
    std::int64_t count;
};

/// k_up or v_up: some rows of it times up to kAttendRows rows of floats, rounded as it wants.
class HeadProduct {
  public:
    explicit HeadProduct(const compute::Tensor& weight) : weight_(weight) {}

    [[nodiscard]] std::int64_t scratch_bytes() const {
        return Scratch::bytes<std::byte>(rounded_bytes()) +
               Scratch::bytes<std::byte>(weight_.panel_bytes());
    }

    void run(const Step& step,
             RowRange weight_rows,
             const FloatRows& x,
             Scratch scratch,
             float* out,
             std::int64_t out_stride) const {
        auto* rounded = scratch.take<std::byte>(rounded_bytes());
        auto* panels = scratch.take<std::byte>(weight_.panel_bytes());
        const auto quantise = step.kernels.quantise[static_cast<std::size_t>(weight_.format)];
        std::array<const void*, kAttendRows> activations;
        for (std::int64_t i = 0; i < x.count; ++i) {
            const float* row = x.first + i * x.stride;
            const void*& activation = activations[static_cast<std::size_t>(i)];
            activation = row;
            if (weight_.format == ActivationFormat::f32) continue;
            std::byte* to = rounded + i * activation_stride(weight_.format, weight_.dim);
            quantise(row, weight_.dim, to);
            activation = to;
        }
        weight_.dot(step.kernels,
                    weight_rows,
                    {activations.data(), static_cast<std::size_t>(x.count)},
                    out,
                    out_stride,
                    panels);
    }

  private:
    [[nodiscard]] std::int64_t rounded_bytes() const {
        return kAttendRows * activation_stride(weight_.format, weight_.dim);
    }

    WeightRows weight_;
};

/// The ways of a tile of tokens into the space of the latents and out of it, head by head.
class LatentHeads {
  public:
    LatentHeads(const compute::AttentionMla& op,
                const compute::Tensor& k_up,
                const compute::Tensor& v_up)
        : op_(op),
          q_(place_of(op.q)),
          out_(place_of(op.out)),
          k_up_(k_up),
          v_up_(v_up) {}

    [[nodiscard]] const Place& q() const { return q_; }
    [[nodiscard]] const Place& out() const { return out_; }
    [[nodiscard]] std::int64_t key_dim() const { return op_.latent_dim + op_.rope_dim; }
    [[nodiscard]] std::int64_t value_dim() const { return op_.latent_dim; }
    [[nodiscard]] LatentColumns columns() const {
        return {op_.layer, key_dim(), value_dim(), op_.scale};
    }

    [[nodiscard]] std::int64_t absorb_bytes() const {
        return Scratch::bytes<float>(kAttendRows * op_.latent_dim) + k_up_.scratch_bytes();
    }
    [[nodiscard]] std::int64_t project_bytes() const { return v_up_.scratch_bytes(); }

    /// A head's queries of the tile into the columns from `column` on.
    void absorb(const Step& step,
                TokenTile tile,
                std::int64_t head,
                Scratch scratch,
                std::int64_t column,
                const LatentQueries& queries) const {
        auto* latents = scratch.take<float>(kAttendRows * op_.latent_dim);
        const std::int64_t stride = step.stride<float>(q_);
        const float* q = step.row<float>(q_, tile.first) + head * (op_.nope_dim + op_.rope_dim);
        k_up_.run(step,
                  {head * op_.latent_dim, op_.latent_dim},
                  {q, stride, tile.count},
                  scratch,
                  latents,
                  op_.latent_dim);
        float* turned = queries.turned + column;
        turn({latents, op_.latent_dim, tile.count}, op_.latent_dim, turned, queries.stride);
        turn({q + op_.nope_dim, stride, tile.count},
             op_.rope_dim,
             turned + op_.latent_dim * queries.stride,
             queries.stride);
        if (column + tile.count < queries.rows) return;
        // The lanes behind the last row are multiplied too.
        for (std::int64_t i = 0; i < key_dim(); ++i) {
            float* row = queries.turned + i * queries.stride;
            std::fill(row + queries.rows, row + queries.stride, 0.0F);
        }
    }

    /// Behind absorb for all heads.
    void round(const Step& step, const LatentQueries& queries) const {
        if (!step.kv.is_rounded()) return;
        step.kernels.round_queries({queries.turned, queries.stride, key_dim(), value_dim()});
    }

    /// The tile's mixed latents of a head to its columns of `out`.
    void project(const Step& step,
                 TokenTile tile,
                 std::int64_t head,
                 Scratch scratch,
                 const float* latents) const {
        v_up_.run(step,
                  {head * op_.value_dim, op_.value_dim},
                  {latents, op_.latent_dim, tile.count},
                  scratch,
                  step.row<float>(out_, tile.first) + head * op_.value_dim,
                  step.stride<float>(out_));
    }

  private:
    /// out[i * stride + r] = row r, column i. A cache line of each row at a time: rows often lie a
    /// power of two apart, and few of those stay in the first-level cache together.
    static void turn(const FloatRows& rows, std::int64_t dim, float* out, std::int64_t stride) {
        constexpr std::int64_t kLineFloats = 16;
        for (std::int64_t first = 0; first < dim; first += kLineFloats) {
            const std::int64_t end = std::min(first + kLineFloats, dim);
            for (std::int64_t r = 0; r < rows.count; ++r) {
                for (std::int64_t i = first; i < end; ++i) {
                    out[i * stride + r] = rows.first[r * rows.stride + i];
                }
            }
        }
    }

    compute::AttentionMla op_;
    Place q_, out_;
    HeadProduct k_up_, v_up_;
};

class AttendMlaOp final : public ParallelOp {
  public:
    AttendMlaOp(const LatentHeads& heads, const Place& cache, const SharedLatentWork& work)
        : heads_(heads),
          work_(work.work) {
        reads(heads_.q());
        reads(cache);
        writes(work.place);
        writes(heads_.out());
    }

    void prepare(const Step& step) override { work_->cut(step); }
    [[nodiscard]] std::int64_t unit_count(const Step&) const override {
        return work_->is_split() ? work_->part_count() : work_->group_count();
    }
    [[nodiscard]] std::int64_t scratch_bytes() const override {
        return Scratch::bytes<float>(kAttendRows * rounded_query_rows(heads_.key_dim())) +
               Scratch::bytes<std::int32_t>(kAttendRows) +
               MixScratch::bytes(heads_.key_dim(), heads_.value_dim()) +
               2 * Scratch::bytes<float>(state_floats()) +
               std::max(heads_.absorb_bytes(), heads_.project_bytes());
    }

    void run(const Step& step, std::int64_t unit, Scratch scratch) const override {
        if (work_->is_split()) return attend_part(step, work_->part(unit), scratch);
        attend_group(step, work_->group(unit), scratch);
    }

  private:
    [[nodiscard]] std::int64_t state_floats() const {
        return MixState::floats(kAttendRows, heads_.value_dim());
    }

    void attend_part(const Step& step, const LatentWork::Part& part, Scratch scratch) const {
        const LatentWork::Group& group = part.group;
        const LatentQueries queries = work_->queries(group);
        LatentWork::Progress& progress = work_->progress(group);
        for (auto head = progress.take_head(); head < group.heads; head = progress.take_head()) {
            const std::int64_t column = head * group.tile.count;
            heads_.absorb(step, group.tile, group.head + head, scratch, column, queries);
            if (progress.count_head() < group.heads) continue;
            heads_.round(step, queries);
            progress.mark_rounded();
        }
        progress.await_rounded();
        const MixState state = work_->state(part.index);
        state.clear(queries.rows);
        const MixScratch memory(scratch, heads_.key_dim(), heads_.value_dim());
        mix_stretch(step, queries, heads_.columns(), part.stretch, memory, state);
        if (progress.count_part() == part.count) merge(step, part, scratch);
    }

    /// All parts of a group have been mixed.
    void merge(const Step& step, const LatentWork::Part& part, Scratch scratch) const {
        const TokenTile tile = part.group.tile;
        const MixState state(scratch.take<float>(state_floats()), heads_.value_dim());
        const std::int64_t rows = part.group.heads * tile.count;
        state.clear(rows);
        for (std::int64_t row = 0; row < rows; ++row) {
            const std::int32_t position = step.position(tile.first + row % tile.count);
            for (std::int32_t stretch = 0; stretch < stretch_count(position); ++stretch) {
                state.merge(
                    step.kernels, row, work_->state(part.index - part.stretch + stretch), row);
            }
        }
        state.divide(step.kernels, rows);
        project(step, part.group, scratch, state);
    }

    void attend_group(const Step& step, const LatentWork::Group& group, Scratch scratch) const {
        const TokenTile tile = group.tile;
        auto* positions = scratch.take<std::int32_t>(kAttendRows);
        const LatentQueries queries{
            scratch.take<float>(kAttendRows * rounded_query_rows(heads_.key_dim())),
            kAttendRows,
            group.heads * tile.count,
            tile.first,
            positions};
        for (std::int64_t h = 0; h < group.heads; ++h) {
            heads_.absorb(step, tile, group.head + h, scratch, h * tile.count, queries);
        }
        heads_.round(step, queries);
        for (std::int64_t row = 0; row < queries.rows; ++row) {
            positions[row] = step.position(tile.first + row % tile.count);
        }
        const MixScratch memory(scratch, heads_.key_dim(), heads_.value_dim());
        const MixState state(scratch.take<float>(state_floats()), heads_.value_dim());
        const MixState part(scratch.take<float>(state_floats()), heads_.value_dim());
        mix_sequence(step, queries, heads_.columns(), memory, state, part);
        project(step, group, scratch, state);
    }

    void project(const Step& step,
                 const LatentWork::Group& group,
                 Scratch scratch,
                 const MixState& state) const {
        for (std::int64_t h = 0; h < group.heads; ++h) {
            const float* latents = state.out + h * group.tile.count * heads_.value_dim();
            heads_.project(step, group.tile, group.head + h, scratch, latents);
        }
    }

    LatentHeads heads_;
    std::shared_ptr<LatentWork> work_;
};

}  // namespace

std::shared_ptr<LatentWork> make_latent_work(const compute::AttentionMla& op) {
    return std::make_shared<LatentWork>(
        LatentWork::Shape{op.heads, op.latent_dim + op.rope_dim, op.latent_dim});
}

std::unique_ptr<TokenOp> make_store_latent(const compute::AttentionMla& op, const Place& cache) {
    return std::make_unique<StoreLatentOp>(op, cache);
}

AttentionOps make_attention_mla(const compute::AttentionMla& op,
                                const Place& cache,
                                const compute::Tensor& k_up,
                                const compute::Tensor& v_up,
                                const SharedLatentWork& work) {
    return {make_store_latent(op, cache),
            std::make_unique<AttendMlaOp>(LatentHeads(op, k_up, v_up), cache, work)};
}

}  // namespace hearth::cpu
