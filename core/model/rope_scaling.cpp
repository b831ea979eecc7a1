#include "core/model/rope_scaling.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace hearth::model {
namespace {

/// The (fractional) pair that turns `rotations` times over the original context.
double pair_of(const RopeScaling& scaling, double dims, double rotations) {
    const double wavelength = scaling.original_context / (rotations * 2.0 * std::numbers::pi);
    return dims * std::log(wavelength) / (2.0 * std::log(scaling.base));
}

}  // namespace

Result<RopeScaling> RopeScaling::read(const Metadata& metadata) {
    RopeScaling scaling;
    HEARTH_TRY(scaling.base, metadata.real("rope.freq_base", scaling.base));
    HEARTH_TRY(const std::string type, metadata.text("rope.scaling.type", "none"));
    if (type == "linear") {
        scaling.type = Type::linear;
    } else if (type == "yarn") {
        scaling.type = Type::yarn;
    } else if (type != "none") {
        return fail(ErrorCode::unsupported,
                    "rope scaling \"" + type + "\" is not known; known are none, linear, yarn",
                    "model");
    }
    if (scaling.type != Type::none) {
        HEARTH_TRY(scaling.factor, metadata.real("rope.scaling.factor", 1.0));
    }
    if (scaling.type == Type::yarn) {
        HEARTH_TRY(const std::int64_t original,
                   metadata.count("rope.scaling.original_context_length", {1, kCountMax}));
        scaling.original_context = static_cast<double>(original);
        HEARTH_TRY(scaling.beta_fast, metadata.real("rope.scaling.yarn_beta_fast", 32.0));
        HEARTH_TRY(scaling.beta_slow, metadata.real("rope.scaling.yarn_beta_slow", 1.0));
        HEARTH_TRY(scaling.attention_factor, metadata.real("rope.scaling.attn_factor", 1.0));
        HEARTH_TRY(const double tenth, metadata.real("rope.scaling.yarn_log_multiplier", 0.0));
        scaling.mscale_all_dim = tenth / 0.1;
    }
    const bool is_sound = scaling.base > 1.0 && scaling.factor > 0.0 && scaling.beta_fast > 0.0 &&
                          scaling.beta_slow > 0.0;
    if (!is_sound) {
        return fail(ErrorCode::corrupt,
                    "the rope metadata (base, scaling factor, betas) is out of "
                    "range",
                    "model");
    }
    return scaling;
}

double RopeScaling::magnitude(double mscale) const {
    if (type != Type::yarn || factor <= 1.0) return 1.0;
    return 1.0 + 0.1 * mscale * std::log(factor);
}

Result<std::vector<float>> rope_frequencies(const RopeScaling& scaling, std::int64_t dims) {
    if (dims % 2 != 0) {
        return fail(ErrorCode::corrupt,
                    "rope.dimension_count is " + std::to_string(dims) +
                        ", but columns are rotated in pairs",
                    "model");
    }
    const auto width = static_cast<double>(dims);
    double low = 0.0;
    double high = 0.0;
    if (scaling.type == RopeScaling::Type::yarn) {
        low = std::max(0.0, std::floor(pair_of(scaling, width, scaling.beta_fast)));
        high = std::min(width - 1.0, std::ceil(pair_of(scaling, width, scaling.beta_slow)));
    }
    std::vector<float> frequencies;
    for (std::int64_t pair = 0; pair < dims / 2; ++pair) {
        const auto place = static_cast<double>(pair);
        const double trained = std::pow(scaling.base, -2.0 * place / width);
        const double stretched = trained / scaling.factor;
        // Pairs below `low` turn often and keep their frequency, those above `high` are stretched.
        double share = scaling.type == RopeScaling::Type::none ? 0.0 : 1.0;
        if (scaling.type == RopeScaling::Type::yarn) {
            share = std::clamp((place - low) / std::max(0.001, high - low), 0.0, 1.0);
        }
        frequencies.push_back(static_cast<float>(stretched * share + trained * (1.0 - share)));
    }
    return frequencies;
}

}  // namespace hearth::model
