#include "training/evaluation/gate_fan.h"

#include <algorithm>
#include <cmath>

namespace hearth::evaluation {

assist::GateAnswer GateFan::take(std::string_view text) {
    const auto probability = static_cast<float>(std::exp(evidence().log_probability - passed_on_));
    // As likely as the likeliest beginning so far: the gates keep no other.
    const auto rival = static_cast<float>(std::exp(evidence().rival_log_probability - passed_on_));
    passed_on_ = evidence().log_probability;
    for (Branch& branch : branches_) {
        if (branch.has_enough) continue;
        const assist::GateAnswer answer = branch.gate->feed(text, probability, rival);
        branch.text += answer.text;
        branch.has_enough = answer.is_enough;
    }
    return {.text = {}, .is_enough = std::ranges::all_of(branches_, &Branch::has_enough)};
}

void GateFan::feed_stop(float probability, float rival) {
    count(probability, rival);
    for (Branch& branch : branches_) {
        if (!branch.has_enough) branch.gate->feed_stop(probability, rival);
    }
}

std::string GateFan::finish(engine::FinishReason reason) {
    for (Branch& branch : branches_) {
        if (!branch.has_enough) branch.text += branch.gate->finish(reason);
        branch.has_enough = true;
    }
    return {};
}

}  // namespace hearth::evaluation
