// Project and Logits: a weight matrix times each token's activation, cut by rows of the weight. A
// unit reads its rows once per tile of tokens from the cache and once from memory. Bound by the
// bytes of weights for few tokens, by the dot products for many.
#include <algorithm>
#include <array>

#include "kernels/cpu/ops/dot_tile.h"
#include "kernels/cpu/ops/ops.h"

namespace hearth::cpu {
namespace {

class ProjectOp final : public ParallelOp {
  public:
    ProjectOp(const compute::Project& op,
              const Place& rounded,
              const compute::Tensor& weight,
              const compute::Tensor* bias)
        : weight_(weight),
          bias_(bias == nullptr ? nullptr : reinterpret_cast<const float*>(bias->bytes.data())),
          rounded_(rounded),
          out_(place_of(op.out)),
          rows_(op.out.dim) {
        reads(rounded_);
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
               Scratch::bytes<std::byte>(weight_.panel_bytes());
    }
    [[nodiscard]] std::optional<Place> chunked_out() const override { return out_; }

    void run(const Step& step, std::int64_t unit, Scratch scratch) const override {
        const RowRange rows = row_chunk(rows_, unit, step);
        const std::int64_t tile = step.kernels.panel_tokens;
        auto* results = scratch.take<float>(tile * rows.count);
        auto* panels = scratch.take<std::byte>(weight_.panel_bytes());
        for (std::int64_t first = 0; first < step.tokens(); first += tile) {
            const std::int64_t count = std::min(tile, step.tokens() - first);
            std::array<const void*, kTokenTile> activations;
            for (std::int64_t t = 0; t < count; ++t) {
                activations[static_cast<std::size_t>(t)] = step.row<void*>(rounded_, first + t);
            }
            weight_.dot(step.kernels,
                        rows,
                        {activations.data(), static_cast<std::size_t>(count)},
                        results,
                        rows.count,
                        panels);
            for (std::int64_t t = 0; t < count; ++t) {
                finish(step, first + t, rows, results + t * rows.count);
            }
        }
    }

  private:
    /// Sums in the order product, bias, residual.
    void finish(const Step& step, std::int64_t token, RowRange rows, float* results) const {
        const auto add = [&](const float* x, float* to) {
            step.kernels.combine(1.0F, x, 1.0F, rows.count, to);
        };
        if (bias_ != nullptr) add(bias_ + rows.begin, results);
        float* out = step.row<float>(out_, token) + rows.begin;
        if (residual_ == out_) return add(results, out);
        if (residual_.buffer != compute::kNone) {
            add(step.row<float>(residual_, token) + rows.begin, results);
        }
        std::copy_n(results, rows.count, out);
    }

    WeightRows weight_;
    const float* bias_;
    Place rounded_, out_, residual_;
    std::int64_t rows_;
};

/// The head, of the rows that are wanted.
class LogitsOp final : public ParallelOp {
  public:
    LogitsOp(const compute::Logits& op, const Place& rounded, const compute::Tensor& weight)
        : weight_(weight),
          rounded_(rounded),
          vocab_size_(weight.shape.dim(0)),
          scale_(op.scale) {
        reads(rounded_);
    }

    [[nodiscard]] std::int64_t unit_count(const Step& step) const override {
        return row_chunk_count(vocab_size_, step);
    }

    [[nodiscard]] std::int64_t scratch_bytes() const override {
        return Scratch::bytes<std::byte>(weight_.panel_bytes());
    }

    void run(const Step& step, std::int64_t unit, Scratch scratch) const override {
        const RowRange rows = row_chunk(vocab_size_, unit, step);
        auto* panels = scratch.take<std::byte>(weight_.panel_bytes());
        const std::int64_t tile = step.kernels.panel_tokens;
        for (std::int64_t first = 0; first < step.tokens(); first += tile) {
            const std::int64_t count = std::min(tile, step.tokens() - first);
            std::array<const void*, kTokenTile> activations;
            for (std::int64_t i = 0; i < count; ++i) {
                activations[static_cast<std::size_t>(i)] = step.row<void*>(rounded_, first + i);
            }
            float* out = step.logits.data() + first * vocab_size_ + rows.begin;
            weight_.dot(step.kernels,
                        rows,
                        {activations.data(), static_cast<std::size_t>(count)},
                        out,
                        vocab_size_,
                        panels);
            if (scale_ == 1.0F) continue;
            for (std::int64_t i = 0; i < count; ++i) {
                for (std::int64_t r = 0; r < rows.count; ++r) {
                    out[i * vocab_size_ + r] *= scale_;
                }
            }
        }
    }

  private:
    WeightRows weight_;
    Place rounded_;
    std::int64_t vocab_size_;
    float scale_;
};

}  // namespace

std::unique_ptr<ParallelOp> make_project(const compute::Project& op,
                                         const Place& rounded,
                                         const compute::Tensor& weight,
                                         const compute::Tensor* bias) {
    return std::make_unique<ProjectOp>(op, rounded, weight, bias);
}

std::unique_ptr<ParallelOp> make_logits(const compute::Logits& op,
                                        const Place& rounded,
                                        const compute::Tensor& weight) {
    return std::make_unique<LogitsOp>(op, rounded, weight);
}

}  // namespace hearth::cpu
