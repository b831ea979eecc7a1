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
        const float* sines = cosines + pairs_;
        float* head = step.row<float>(x_, token) + rotate_offset_;
        // Pair i is (x[i * between], x[i * between + apart]).
        const std::int64_t between = is_interleaved_ ? 2 : 1;
        const std::int64_t apart = is_interleaved_ ? 1 : pairs_;
        for (std::int64_t h = 0; h < heads_; ++h, head += head_dim_) {
            for (std::int64_t i = 0; i < pairs_; ++i) {
                float& a = head[i * between];
                float& b = head[i * between + apart];
                const float rotated = a * cosines[i] - b * sines[i];
                b = a * sines[i] + b * cosines[i];
                a = rotated;
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
