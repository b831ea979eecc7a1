// Every gradient of the trainer against central differences, in double on a toy shape.
#include <cmath>
#include <random>

#include <catch2/catch.hpp>

#include "training/trainer/model.h"

using namespace hearth;
using namespace hearth::trainer;

namespace {

ModelShape toy_shape() {
    ModelShape shape;
    shape.vocab_size = 23;
    shape.hidden_dim = 12;
    shape.layer_count = 3;
    shape.dense_layer_count = 1;
    shape.head_count = 2;
    shape.nope_dim = 5;
    shape.rope_dim = 4;
    shape.value_dim = 3;
    shape.query_rank = 7;
    shape.latent_rank = 6;
    shape.dense_ffn_dim = 10;
    shape.expert_ffn_dim = 9;
    shape.expert_count = 4;
    shape.experts_per_token = 2;
    shape.expert_weights_scale = 1.5F;
    shape.shared_expert_count = 2;
    return shape;
}

struct Toy {
    ModelShape shape = toy_shape();
    ParameterLayout layout{shape};
    std::vector<double> weights;
    std::vector<std::int32_t> inputs, targets;
    TokenBatch batch;

    Toy() {
        std::mt19937 random(7);
        std::normal_distribution<double> normal(0.0, 0.4);
        weights.resize(layout.elements);
        for (const Parameter& p : layout.parameters) {
            for (std::size_t i = 0; i < p.elements(); ++i) {
                const double base = p.kind == ParameterKind::norm ? 1.0 : 0.0;
                weights[p.offset + i] = base + normal(random);
            }
        }
        std::uniform_int_distribution<std::int32_t> token(0, 22);
        for (int i = 0; i < 3 * 11; ++i) {
            inputs.push_back(token(random));
            targets.push_back(token(random));
        }
        batch = {inputs, targets, 3, 11};
    }

    template <typename Real>
    std::vector<Real> gradients(const Math<Real>& math, const PassOptions& options) {
        Model<Real> model(shape, math, 3, 11);
        const std::vector<Real> typed(weights.begin(), weights.end());
        std::vector<Real> result(layout.elements, Real(0));
        (void)model.run(typed, result, batch, options);
        return result;
    }
};

/// Every second token of the vocabulary and all targets, the rest by weight.
HeadCandidates toy_candidates(const Toy& toy) {
    HeadCandidates candidates;
    candidates.index_of.assign(toy.shape.vocab_size, 0);
    std::vector<bool> is_in(toy.shape.vocab_size, false);
    for (const std::int32_t target : toy.targets) {
        is_in[static_cast<std::size_t>(target)] = true;
    }
    for (std::uint32_t token = 0; token < toy.shape.vocab_size; ++token) {
        if (!is_in[token] && token % 2 != 0) continue;
        candidates.index_of[token] = static_cast<std::uint32_t>(candidates.tokens.size());
        candidates.tokens.push_back(token);
        candidates.correction.push_back(is_in[token] ? 0.0F : 0.75F);
    }
    return candidates;
}

/// Largest |analytic - numeric| over a parameter, relative to the largest gradient in it.
double gradient_error(Toy& toy,
                      Model<double>& model,
                      const Parameter& p,
                      const std::vector<double>& analytic,
                      const PassOptions& options) {
    const double h = 1e-5;
    double largest = 1e-9;
    double error = 0;
    const std::size_t step = std::max<std::size_t>(1, p.elements() / 40);
    for (std::size_t i = p.offset; i < p.offset + p.elements(); i += step) {
        const double kept = toy.weights[i];
        toy.weights[i] = kept + h;
        const double above = model.run(toy.weights, {}, toy.batch, options);
        toy.weights[i] = kept - h;
        const double below = model.run(toy.weights, {}, toy.batch, options);
        toy.weights[i] = kept;
        const double numeric = (above - below) / (2 * h);
        largest = std::max(largest, std::abs(numeric));
        error = std::max(error, std::abs(numeric - analytic[i]));
    }
    return error / largest;
}

void check_gradients(Toy& toy, const PassOptions& options) {
    const std::vector<double> analytic = toy.gradients(portable_math_double(), options);
    Model<double> model(toy.shape, portable_math_double(), 3, 11);
    for (const Parameter& p : toy.layout.parameters) {
        if (p.kind == ParameterKind::routing_bias) continue;
        INFO(p.name);
        CHECK(gradient_error(toy, model, p, analytic, options) < 1e-6);
    }
}

}  // namespace

TEST_CASE("every parameter's gradient agrees with central differences", "[trainer][gradient]") {
    Toy toy;
    check_gradients(toy, {});
}

TEST_CASE("gradients hold when the head scores only candidates", "[trainer][gradient]") {
    Toy toy;
    const HeadCandidates candidates = toy_candidates(toy);
    REQUIRE(candidates.tokens.size() < toy.shape.vocab_size);
    check_gradients(toy, {.candidates = &candidates});
}

TEST_CASE("a pass for experts alone gives their gradients bit for bit, and adds to no other matrix",
          "[trainer][gradient]") {
    Toy toy;
    const HeadCandidates candidates = toy_candidates(toy);
    for (const HeadCandidates* chosen :
         {static_cast<const HeadCandidates*>(nullptr), &candidates}) {
        const auto whole = toy.gradients(portable_math_double(), {.candidates = chosen});
        const auto part =
            toy.gradients(portable_math_double(), {.candidates = chosen, .experts_only = true});
        for (const Parameter& p : toy.layout.parameters) {
            INFO(p.name);
            const auto of = [&](const std::vector<double>& all) {
                const auto first = all.begin() + static_cast<std::ptrdiff_t>(p.offset);
                return std::vector<double>(first,
                                           first + static_cast<std::ptrdiff_t>(p.elements()));
            };
            if (p.is_routed_expert) {
                CHECK(of(part) == of(whole));
            } else if (p.kind != ParameterKind::norm) {
                CHECK(of(part) == std::vector<double>(p.elements(), 0.0));
            }
        }
    }
}
