// ModelConfig: the numbers of one model, under GGUF's words. Only what every architecture has; the
// rest is private to the architecture's own file.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/result.h"

namespace hearth::model {

struct ModelConfig {
    std::string architecture;  ///< "deepseek2", "qwen3moe", "granitemoe", ...
    std::string name;          ///< general.name, else the file's name
    std::int32_t layer_count = 0;
    std::int32_t context_length = 0;  ///< tokens the model was made for
    std::int32_t vocab_size = 0;
    std::int64_t hidden_dim = 0;
    std::int32_t head_count = 0;
    std::int32_t kv_head_count = 0;
    std::int32_t expert_count = 0;       ///< 0: dense
    std::int32_t experts_per_token = 0;  ///< routed ones
    float norm_epsilon = 1e-6F;

    /// Errors: corrupt, naming the number and what it should be.
    [[nodiscard]] Result<void> validate() const;
};

}  // namespace hearth::model
