// GateFan: one answer of the model, judged by several gates side by side, so that what each of them
// would show costs one generation.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/assist/text_gate.h"

namespace hearth::evaluation {

/// Releases nothing itself; has enough when all its gates have.
class GateFan final : public assist::TextGate {
  public:
    /// The next gate; lives as long as the fan.
    template <typename Gate>
    Gate& add(std::unique_ptr<Gate> gate) {
        Gate& added = *gate;
        branches_.push_back({.gate = std::move(gate)});
        return added;
    }

    void feed_stop(float probability, float rival) override;
    std::string finish(engine::FinishReason reason) override;

    /// What the gate that was added as number `index` has released.
    [[nodiscard]] const std::string& text(std::size_t index) const {
        return branches_.at(index).text;
    }

  private:
    assist::GateAnswer take(std::string_view text) override;

    struct Branch {
        std::unique_ptr<assist::TextGate> gate;
        std::string text = {};
        bool has_enough = false;
    };
    std::vector<Branch> branches_;
    double passed_on_ = 0.0;  ///< log probability of the tokens so far
};

}  // namespace hearth::evaluation
