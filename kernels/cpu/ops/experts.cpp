// Experts: the step's (token, choice) pairs are grouped by expert, so that each row of an expert's
// weights is read once for all its tokens. Per token the experts are summed in ascending order of
// their numbers, whatever else is in the step. Bound by the bytes of the chosen experts' weights
// for few tokens, by the dot products for many.
#include <algorithm>
#include <array>

#include "kernels/cpu/ops/dot_tile.h"
#include "kernels/cpu/ops/ops.h"

namespace hearth::cpu {
namespace {

struct Choice {
    std::int32_t token;
    std::int32_t slot;  ///< which of the token's choices
};

/// The choices of a step by expert, experts ascending, tokens ascending. Written by the first half
/// of the block, read by both.
class ExpertGroups {
  public:
    struct Group {
        std::int32_t expert;
        std::int32_t begin, end;  ///< into choices()
    };

    ExpertGroups(std::int64_t expert_count, std::int64_t choices_max)
        : starts_(static_cast<std::size_t>(expert_count) + 1),
          choices_(static_cast<std::size_t>(choices_max)) {
        groups_.reserve(static_cast<std::size_t>(expert_count));
    }

    void collect(const Step& step, const Place& experts, std::int64_t experts_per_token) {
        std::ranges::fill(starts_, 0);
        const auto for_each = [&](auto visit) {
            for (std::int64_t t = 0; t < step.tokens(); ++t) {
                const auto* chosen = step.row<std::int32_t>(experts, t);
                for (std::int64_t slot = 0; slot < experts_per_token; ++slot) {
                    visit(static_cast<std::size_t>(chosen[slot]),
                          Choice{static_cast<std::int32_t>(t), static_cast<std::int32_t>(slot)});
                }
            }
        };
        for_each([&](std::size_t expert, Choice) { ++starts_[expert + 1]; });
        groups_.clear();
        for (std::size_t expert = 0; expert + 1 < starts_.size(); ++expert) {
            const std::int32_t begin = starts_[expert];
            const std::int32_t end = begin + starts_[expert + 1];
            starts_[expert + 1] = end;
            if (end > begin) groups_.push_back({static_cast<std::int32_t>(expert), begin, end});
        }
        // starts_[e] is where expert e begins; it moves on to where e + 1 begins.
        for_each([&](std::size_t expert, Choice choice) {
            choices_[static_cast<std::size_t>(starts_[expert]++)] = choice;
        });
    }

    [[nodiscard]] std::span<const Group> groups() const { return groups_; }
    [[nodiscard]] std::span<const Choice> choices(const Group& group) const {
        return std::span<const Choice>(choices_).subspan(
            static_cast<std::size_t>(group.begin),
            static_cast<std::size_t>(group.end - group.begin));
    }

  private:
    std::vector<std::int32_t> starts_;
    std::vector<Choice> choices_;
    std::vector<Group> groups_;
};

using Activations = std::array<const void*, kTokenTile>;

/// The first choices of `rest`, which loses them.
std::span<const Choice> take_tile(const Step& step, std::span<const Choice>& rest) {
    const auto most = static_cast<std::size_t>(step.kernels.panel_tokens);
    const std::span<const Choice> tile = rest.first(std::min(rest.size(), most));
    rest = rest.subspan(tile.size());
    return tile;
}

class ExpertsUpOp final : public ParallelOp {
  public:
    ExpertsUpOp(const compute::Experts& op,
                const ExpertsPlaces& places,
                const ExpertsTensors& tensors,
                std::shared_ptr<ExpertGroups> groups)
        : gate_(tensors.gate),
          up_(tensors.up),
          places_(places),
          experts_(place_of(op.experts)),
          experts_per_token_(op.experts.dim),
          ffn_dim_(tensors.gate.shape.dim(1)),
          groups_(std::move(groups)) {
        reads(places_.rounded_x_gate);
        reads(places_.rounded_x_up);
        reads(experts_);
        writes(places_.hidden);
    }

    void prepare(const Step& step) override {
        groups_->collect(step, experts_, experts_per_token_);
    }
    [[nodiscard]] std::int64_t unit_count(const Step& step) const override {
        return experts() * chunks(step);
    }
    [[nodiscard]] std::int64_t scratch_bytes() const override {
        return 2 * Scratch::bytes<float>(kTokenTile * kChunkRowsMax) +
               Scratch::bytes<std::byte>(panel_bytes());
    }

    void run(const Step& step, std::int64_t unit, Scratch scratch) const override {
        const auto& group = groups_->groups()[static_cast<std::size_t>(unit / chunks(step))];
        const RowRange chunk = row_chunk(ffn_dim_, unit % chunks(step), step, cut_at_once(step));
        const RowRange rows{group.expert * ffn_dim_ + chunk.begin, chunk.count};
        float* gates = scratch.take<float>(step.kernels.panel_tokens * rows.count);
        float* ups = scratch.take<float>(step.kernels.panel_tokens * rows.count);
        auto* panels = scratch.take<std::byte>(panel_bytes());
        std::span<const Choice> rest = groups_->choices(group);
        while (!rest.empty()) {
            const std::span<const Choice> tile = take_tile(step, rest);
            dot(step, gate_, places_.rounded_x_gate, rows, tile, gates, panels);
            dot(step, up_, places_.rounded_x_up, rows, tile, ups, panels);
            for (std::size_t i = 0; i < tile.size(); ++i) {
                const auto from = static_cast<std::int64_t>(i) * rows.count;
                float* hidden = step.row<float>(places_.hidden, tile[i].token) +
                                tile[i].slot * ffn_dim_ + chunk.begin;
                step.kernels.swiglu(gates + from, ups + from, rows.count, hidden);
            }
        }
    }

  private:
    [[nodiscard]] std::int64_t chunks(const Step& step) const {
        return row_chunk_count(ffn_dim_, step, cut_at_once(step));
    }
    /// Where tokens are laid out for each chunk of rows, chunks are as large as leaves enough
    /// units; for few tokens small ones are shared out better.
    [[nodiscard]] std::int64_t cut_at_once(const Step& step) const {
        return step.tokens() < kPanelTokensMin ? 1 : experts();
    }
    /// That some token has chosen.
    [[nodiscard]] std::int64_t experts() const {
        return static_cast<std::int64_t>(groups_->groups().size());
    }
    [[nodiscard]] std::int64_t panel_bytes() const {
        return std::max(gate_.panel_bytes(), up_.panel_bytes());
    }
    static void dot(const Step& step,
                    const WeightRows& weight,
                    const Place& rounded,
                    RowRange rows,
                    std::span<const Choice> tile,
                    float* out,
                    void* panels) {
        Activations activations;
        for (std::size_t i = 0; i < tile.size(); ++i) {
            activations[i] = step.row<void*>(rounded, tile[i].token);
        }
        weight.dot(step.kernels, rows, {activations.data(), tile.size()}, out, rows.count, panels);
    }

    WeightRows gate_, up_;
    ExpertsPlaces places_;
    Place experts_;
    std::int64_t experts_per_token_, ffn_dim_;
    std::shared_ptr<ExpertGroups> groups_;
};

class ExpertsDownOp final : public ParallelOp {
  public:
    ExpertsDownOp(const compute::Experts& op,
                  const Place& rounded_hidden,
                  const compute::Tensor& down,
                  std::shared_ptr<const ExpertGroups> groups)
        : down_(down),
          rounded_(rounded_hidden),
          slot_bytes_(activation_stride(down_.format, down_.dim)),
          weights_(place_of(op.weights)),
          out_(place_of(op.out)),
          rows_(op.out.dim),
          groups_(std::move(groups)) {
        reads(rounded_);
        reads(weights_);
        if (op.residual.id != compute::kNone) {
            residual_ = place_of(op.residual);
            reads(residual_);
        }
        writes(out_);
    }

    [[nodiscard]] std::int64_t unit_count(const Step& step) const override {
        return row_chunk_count(rows_, step);
    }
    [[nodiscard]] std::int64_t scratch_bytes() const override {
        return Scratch::bytes<float>(kTokenTile * kChunkRowsMax) +
               Scratch::bytes<std::byte>(down_.panel_bytes());
    }
    [[nodiscard]] std::optional<Place> chunked_out() const override { return out_; }

    void run(const Step& step, std::int64_t unit, Scratch scratch) const override {
        const RowRange chunk = row_chunk(rows_, unit, step);
        float* results = scratch.take<float>(step.kernels.panel_tokens * chunk.count);
        auto* panels = scratch.take<std::byte>(down_.panel_bytes());
        start_from_residual(step, chunk);
        const std::span<const ExpertGroups::Group> groups = groups_->groups();
        for (std::size_t g = 0; g < groups.size(); ++g) {
            const RowRange rows{groups[g].expert * rows_ + chunk.begin, chunk.count};
            const ExpertGroups::Group& next = groups[std::min(g + 1, groups.size() - 1)];
            const void* next_rows = down_.row(next.expert * rows_ + chunk.begin);
            std::span<const Choice> rest = groups_->choices(groups[g]);
            while (!rest.empty()) {
                const std::span<const Choice> tile = take_tile(step, rest);
                add_tile(step, tile, rows, chunk, results, panels, next_rows);
            }
        }
    }

  private:
    void start_from_residual(const Step& step, RowRange chunk) const {
        if (residual_ == out_) return;
        for (std::int64_t t = 0; t < step.tokens(); ++t) {
            float* out = step.row<float>(out_, t) + chunk.begin;
            if (residual_.buffer == compute::kNone) {
                std::fill_n(out, chunk.count, 0.0F);
            } else {
                std::copy_n(step.row<float>(residual_, t) + chunk.begin, chunk.count, out);
            }
        }
    }

    void add_tile(const Step& step,
                  std::span<const Choice> tile,
                  RowRange rows,
                  RowRange chunk,
                  float* results,
                  void* panels,
                  const void* next_rows) const {
        Activations activations;
        for (std::size_t i = 0; i < tile.size(); ++i) {
            activations[i] =
                step.row<std::byte>(rounded_, tile[i].token) + tile[i].slot * slot_bytes_;
        }
        down_.dot(step.kernels,
                  rows,
                  {activations.data(), tile.size()},
                  results,
                  rows.count,
                  panels,
                  next_rows);
        for (std::size_t i = 0; i < tile.size(); ++i) {
            step.kernels.combine(1.0F,
                                 results + static_cast<std::int64_t>(i) * rows.count,
                                 step.row<float>(weights_, tile[i].token)[tile[i].slot],
                                 rows.count,
                                 step.row<float>(out_, tile[i].token) + chunk.begin);
        }
    }

    WeightRows down_;
    Place rounded_;
    std::int64_t slot_bytes_;
    Place weights_, out_, residual_;
    std::int64_t rows_;
    std::shared_ptr<const ExpertGroups> groups_;
};

}  // namespace

ExpertsOps make_experts(const compute::Experts& op,
                        const ExpertsPlaces& places,
                        const ExpertsTensors& tensors,
                        std::int64_t tokens_max) {
    auto groups =
        std::make_shared<ExpertGroups>(tensors.gate.shape.dim(0), tokens_max * op.experts.dim);
    return {std::make_unique<ExpertsUpOp>(op, places, tensors, groups),
            std::make_unique<ExpertsDownOp>(op, places.rounded_hidden, tensors.down, groups)};
}

}  // namespace hearth::cpu
