// Swiglu, Add, the rounding of activations, and the ways in and out of a step: what needs a token's
// row and nothing else.
#include <algorithm>

#include "kernels/cpu/activation.h"
#include "kernels/cpu/ops/ops.h"

namespace hearth::cpu {
namespace {

class SwigluOp final : public TokenOp {
  public:
    explicit SwigluOp(const compute::Swiglu& op)
        : gate_(place_of(op.gate)),
          up_(place_of(op.up)),
          out_(place_of(op.out)),
          dim_(op.out.dim) {
        reads(gate_);
        reads(up_);
        writes(out_);
    }

    void run(const Step& step, std::int64_t token, Scratch) const override {
        step.kernels.swiglu(step.row<float>(gate_, token),
                            step.row<float>(up_, token),
                            dim_,
                            step.row<float>(out_, token));
    }

  private:
    Place gate_, up_, out_;
    std::int64_t dim_;
};

class AddOp final : public TokenOp {
  public:
    explicit AddOp(const compute::Add& op)
        : a_(place_of(op.a)),
          b_(place_of(op.b)),
          out_(place_of(op.out)),
          dim_(op.out.dim) {
        reads(a_);
        reads(b_);
        writes(out_);
    }

    void run(const Step& step, std::int64_t token, Scratch) const override {
        const float* a = step.row<float>(a_, token);
        const float* b = step.row<float>(b_, token);
        float* out = step.row<float>(out_, token);
        for (std::int64_t i = 0; i < dim_; ++i) {
            out[i] = a[i] + b[i];
        }
    }

  private:
    Place a_, b_, out_;
    std::int64_t dim_;
};

class RowsInOp final : public TokenOp {
  public:
    explicit RowsInOp(const compute::Slice& rows) : out_(place_of(rows)), dim_(rows.dim) {
        writes(out_);
    }

    void run(const Step& step, std::int64_t token, Scratch) const override {
        const auto row = static_cast<std::int64_t>(step.in_batch(token));
        std::copy_n(step.batch.rows.data() + row * dim_, dim_, step.row<float>(out_, token));
    }

  private:
    Place out_;
    std::int64_t dim_;
};

class RowsOutOp final : public TokenOp {
  public:
    explicit RowsOutOp(const compute::Slice& rows) : x_(place_of(rows)), dim_(rows.dim) {
        reads(x_);
    }

    [[nodiscard]] bool outlives_step() const override { return true; }

    void run(const Step& step, std::int64_t token, Scratch) const override {
        const auto row = static_cast<std::int64_t>(step.in_batch(token));
        std::copy_n(step.row<float>(x_, token), dim_, step.rows_out + row * dim_);
    }

  private:
    Place x_;
    std::int64_t dim_;
};

class QuantiseOp final : public TokenOp {
  public:
    explicit QuantiseOp(const Quantise& op)
        : op_(op),
          stride_(activation_stride(op.format, op.dim)) {
        reads(op.x);
        writes(op.rounded);
    }

    void run(const Step& step, std::int64_t token, Scratch) const override {
        const float* x = step.row<float>(op_.x, token);
        auto* rounded = step.row<std::byte>(op_.rounded, token);
        const auto quantise = step.kernels.quantise[static_cast<std::size_t>(op_.format)];
        for (std::int64_t run = 0; run < op_.runs; ++run) {
            quantise(x + run * op_.dim, op_.dim, rounded + run * stride_);
        }
    }

  private:
    Quantise op_;
    std::int64_t stride_;
};

}  // namespace

std::unique_ptr<TokenOp> make_swiglu(const compute::Swiglu& op) {
    return std::make_unique<SwigluOp>(op);
}

std::unique_ptr<TokenOp> make_add(const compute::Add& op) {
    return std::make_unique<AddOp>(op);
}

std::unique_ptr<TokenOp> make_rows_in(const compute::Slice& rows) {
    return std::make_unique<RowsInOp>(rows);
}

std::unique_ptr<TokenOp> make_rows_out(const compute::Slice& rows) {
    return std::make_unique<RowsOutOp>(rows);
}

std::unique_ptr<TokenOp> make_quantise(const Quantise& op) {
    return std::make_unique<QuantiseOp>(op);
}

}  // namespace hearth::cpu
