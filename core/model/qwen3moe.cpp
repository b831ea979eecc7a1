// qwen3moe: grouped-query attention with a norm on each query and key head; softmax over all
// experts, the chosen weights renormalised; no shared expert.
#include "core/model/gqa_decoder.h"

namespace hearth::model {

Result<std::shared_ptr<const Model>> make_qwen3moe(const File& file) {
    return make_gqa_decoder(file,
                            "qwen3moe",
                            {.rope_style = compute::RopeStyle::halves,
                             .needs_head_norms = true,
                             .needs_experts = true});
}

}  // namespace hearth::model
