// The decoder with grouped-query attention that llama, qwen2, qwen3moe and granitemoe are; what
// they differ in is data. Private to core/model.
#pragma once

#include <memory>

#include "core/base/result.h"
#include "core/model/architecture.h"

namespace hearth::model {

struct GqaTraits {
    compute::RopeStyle rope_style;
    bool needs_qkv_bias = false;      ///< else taken where the file has it
    bool needs_head_norms = false;    ///< RMSNorm of each query and key head before the rotation
    bool needs_experts = false;       ///< else dense where the file has no experts
    std::int64_t shared_ffn_dim = 0;  ///< of an expert beside the routed ones; 0: none
    float score_scale = 0.0F;         ///< of attention; 0: 1 / sqrt(head_dim)
    float embedding_scale = 1.0F;
    float epsilon_scale = 1.0F;  ///< of the norms that read the residual stream
    float logit_scale = 1.0F;
};

/// Errors: those of make_model.
Result<std::shared_ptr<const Model>> make_gqa_decoder(const File& file,
                                                      const std::string& architecture,
                                                      const GqaTraits& traits);

}  // namespace hearth::model
