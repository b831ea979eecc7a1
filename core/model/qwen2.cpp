// qwen2: grouped-query attention with biases on query, key and value; dense.
#include "core/model/gqa_decoder.h"

namespace hearth::model {

Result<std::shared_ptr<const Model>> make_qwen2(const File& file) {
    return make_gqa_decoder(
        file, "qwen2", {.rope_style = compute::RopeStyle::halves, .needs_qkv_bias = true});
}

}  // namespace hearth::model
