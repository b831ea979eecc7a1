// silu(gate(x)) * up(x) of a dense or shared feed-forward in one operation, cut by rows of both
// weights: what the two projections give stays in scratch. The numbers are those of two Projects
// and a Swiglu. Bound as Project.
#include <algorithm>
#include <array>

#include "kernels/cpu/ops/dot_tile.h"
#include "kernels/cpu/ops/ops.h"

namespace hearth::cpu {
namespace {

class GateUpOp final : public ParallelOp {
  public:
    explicit GateUpOp(const GateUp& op)
        : gate_(op.gate),
          up_(op.up),
          rounded_x_gate_(op.rounded_x_gate),
          rounded_x_up_(op.rounded_x_up),
          out_(op.out),
          rows_(op.gate.shape.dim(0)) {
        reads(rounded_x_gate_);
        reads(rounded_x_up_);
        writes(out_);
    }

    [[nodiscard]] std::int64_t unit_count(const Step& step) const override {
        return row_chunk_count(rows_, step);
    }
    [[nodiscard]] std::int64_t scratch_bytes() const override {
        return 2 * Scratch::bytes<float>(kTokenTile * kChunkRowsMax) +
               Scratch::bytes<std::byte>(panel_bytes());
    }

    void run(const Step& step, std::int64_t unit, Scratch scratch) const override {
        const RowRange rows = row_chunk(rows_, unit, step);
        const std::int64_t tile = step.kernels.panel_tokens;
        auto* gates = scratch.take<float>(tile * rows.count);
        auto* ups = scratch.take<float>(tile * rows.count);
        auto* panels = scratch.take<std::byte>(panel_bytes());
        for (std::int64_t first = 0; first < step.tokens(); first += tile) {
            const std::int64_t count = std::min(tile, step.tokens() - first);
            const auto dot = [&](const WeightRows& weight, const Place& rounded, float* to) {
                std::array<const void*, kTokenTile> activations;
                for (std::int64_t t = 0; t < count; ++t) {
                    activations[static_cast<std::size_t>(t)] = step.row<void*>(rounded, first + t);
                }
                const std::span<const void* const> some(activations.data(),
                                                        static_cast<std::size_t>(count));
                weight.dot(step.kernels, rows, some, to, rows.count, panels);
            };
            dot(gate_, rounded_x_gate_, gates);
            dot(up_, rounded_x_up_, ups);
            for (std::int64_t t = 0; t < count; ++t) {
                const std::int64_t from = t * rows.count;
                float* out = step.row<float>(out_, first + t) + rows.begin;
                step.kernels.swiglu(gates + from, ups + from, rows.count, out);
            }
        }
    }

  private:
    [[nodiscard]] std::int64_t panel_bytes() const {
        return std::max(gate_.panel_bytes(), up_.panel_bytes());
    }

    WeightRows gate_, up_;
    Place rounded_x_gate_, rounded_x_up_, out_;
    std::int64_t rows_;
};

}  // namespace

std::unique_ptr<ParallelOp> make_gate_up(const GateUp& op) {
    return std::make_unique<GateUpOp>(op);
}

}  // namespace hearth::cpu
