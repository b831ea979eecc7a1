// Embed: one row of the table per token.
#include "core/compute/dequantize.h"
#include "kernels/cpu/ops/ops.h"

namespace hearth::cpu {
namespace {

class EmbedOp final : public TokenOp {
  public:
    EmbedOp(const compute::Embed& op, const compute::Tensor& table)
        : table_(table),
          out_(place_of(op.out)),
          dim_(op.out.dim),
          scale_(op.scale) {
        writes(out_);
    }

    void run(const Step& step, std::int64_t token, Scratch) const override {
        const std::int32_t id = step.batch.tokens[step.in_batch(token)];
        const std::span<float> out(step.row<float>(out_, token), static_cast<std::size_t>(dim_));
        compute::dequantize(
            table_.dtype, {table_.row(id), static_cast<std::size_t>(table_.row_size_bytes())}, out);
        for (float& x : out) {
            x *= scale_;
        }
    }

  private:
    const compute::Tensor& table_;
    Place out_;
    std::int64_t dim_;
    float scale_;
};

}  // namespace

std::unique_ptr<TokenOp> make_embed(const compute::Embed& op, const compute::Tensor& table) {
    return std::make_unique<EmbedOp>(op, table);
}

}  // namespace hearth::cpu
