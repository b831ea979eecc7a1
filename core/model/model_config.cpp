#include "core/model/model_config.h"

#include <cmath>

namespace hearth::model {

Result<void> ModelConfig::validate() const {
    const auto broken = [this](const std::string& what) {
        return fail(ErrorCode::corrupt, "the model \"" + name + "\" " + what, "model");
    };
    if (layer_count < 1) return broken("has no layers");
    if (context_length < 1) return broken("has no context length");
    if (vocab_size < 1) return broken("has no vocabulary");
    if (hidden_dim < 1) return broken("has no hidden dim");
    if (head_count < 1 || kv_head_count < 1 || head_count % kv_head_count != 0) {
        return broken("has " + std::to_string(head_count) + " heads over " +
                      std::to_string(kv_head_count) +
                      " KV heads; the first must be a multiple of the second");
    }
    if (expert_count < 0 || (expert_count > 0 && experts_per_token < 1) ||
        experts_per_token > expert_count) {
        return broken("uses " + std::to_string(experts_per_token) + " of " +
                      std::to_string(expert_count) + " experts per token");
    }
    if (!(norm_epsilon > 0.0F) || !std::isfinite(norm_epsilon)) {
        return broken("has a norm epsilon that is not above 0");
    }
    return {};
}

}  // namespace hearth::model
