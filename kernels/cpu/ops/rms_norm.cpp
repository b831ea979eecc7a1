// RmsNorm: each run of group_dim columns over its root mean square, times the weight.
#include "kernels/cpu/ops/ops.h"

namespace hearth::cpu {
namespace {

class RmsNormOp final : public TokenOp {
  public:
    RmsNormOp(const compute::RmsNorm& op, const compute::Tensor& weight)
        : weight_(reinterpret_cast<const float*>(weight.bytes.data())),
          x_(place_of(op.x)),
          out_(place_of(op.out)),
          dim_(op.x.dim),
          group_dim_(op.group_dim),
          epsilon_(op.epsilon) {
        reads(x_);
        writes(out_);
    }

    void run(const Step& step, std::int64_t token, Scratch) const override {
        const float* x = step.row<float>(x_, token);
        float* out = step.row<float>(out_, token);
        for (std::int64_t i = 0; i < dim_; i += group_dim_) {
            step.kernels.rms_norm(x + i, weight_, group_dim_, epsilon_, out + i);
        }
    }

  private:
    const float* weight_;
    Place x_, out_;
    std::int64_t dim_, group_dim_;
    float epsilon_;
};

}  // namespace

std::unique_ptr<TokenOp> make_rms_norm(const compute::RmsNorm& op, const compute::Tensor& weight) {
    return std::make_unique<RmsNormOp>(op, weight);
}

}  // namespace hearth::cpu
