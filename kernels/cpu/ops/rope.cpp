// Rope: the angles of a step's positions once, then the rotation of each operation.
#include <cmath>

#include "kernels/cpu/ops/ops.h"

namespace hearth::cpu {
namespace {

class RopeAnglesOp final : public TokenOp {
  public:
    RopeAnglesOp(const compute::Rope& op, const Place& angles)
        : frequencies_(op.frequencies),
          magnitude_(op.magnitude),
          angles_(angles) {
        writes(angles_);
    }

    void run(const Step& step, std::int64_t token, Scratch) const override {
        const double position = step.position(token);
        auto* cosines = step.row<float>(angles_, token);
        float* sines = cosines + frequencies_.size();
        for (std::size_t i = 0; i < frequencies_.size(); ++i) {
            const double angle = position * static_cast<double>(frequencies_[i]);
            cosines[i] = static_cast<float>(std::cos(angle)) * magnitude_;
            sines[i] = static_cast<float>(std::sin(angle)) * magnitude_;
        }
    }

  private:
    std::vector<float> frequencies_;
    float magnitude_;
    Place angles_;
};

/// Pair i is (a[i * between], b[i * between]), which no other pair has a part of.
[[gnu::always_inline]] inline void rotate(const float* __restrict cosines,
                                          const float* __restrict sines,
                                          std::int64_t pairs,
                                          std::int64_t between,
                                          float* __restrict a,
                                          float* __restrict b) {
    for (std::int64_t i = 0; i < pairs; ++i) {
        const float x = a[i * between];
        const float y = b[i * between];
        a[i * between] = x * cosines[i] - y * sines[i];
        b[i * between] = x * sines[i] + y * cosines[i];
    }
}

class RopeOp final : public TokenOp {
  public:
    RopeOp(const compute::Rope& op, const Place& angles)
        : x_(place_of(op.x)),
          angles_(angles),
          heads_(op.heads),
          head_dim_(op.head_dim),
          rotate_offset_(op.rotate_offset),
          pairs_(static_cast<std::int64_t>(op.frequencies.size())),
          is_interleaved_(op.style == compute::RopeStyle::interleaved) {
        reads(angles_);
        writes(x_);
    }

    void run(const Step& step, std::int64_t token, Scratch) const override {
        const float* cosines = step.row<float>(angles_, token);
        float* head = step.row<float>(x_, token) + rotate_offset_;
        for (std::int64_t h = 0; h < heads_; ++h, head += head_dim_) {
            if (is_interleaved_) {
                rotate(cosines, cosines + pairs_, pairs_, 2, head, head + 1);
            } else {
                rotate(cosines, cosines + pairs_, pairs_, 1, head, head + pairs_);
            }
        }
    }

  private:
    Place x_, angles_;
    std::int64_t heads_, head_dim_, rotate_offset_, pairs_;
    bool is_interleaved_;
};

}  // namespace

std::unique_ptr<TokenOp> make_rope_angles(const compute::Rope& op, const Place& angles) {
    return std::make_unique<RopeAnglesOp>(op, angles);
}

std::unique_ptr<TokenOp> make_rope(const compute::Rope& op, const Place& angles) {
    return std::make_unique<RopeOp>(op, angles);
}

}  // namespace hearth::cpu
