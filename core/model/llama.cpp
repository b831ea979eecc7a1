// llama: grouped-query attention with adjacent rotation pairs (query and key rows are permuted when
// a file is converted); dense, or with routed experts as Mixtral has them.
#include "core/model/gqa_decoder.h"

namespace hearth::model {

Result<std::shared_ptr<const Model>> make_llama(const File& file) {
    return make_gqa_decoder(file, "llama", {.rope_style = compute::RopeStyle::interleaved});
}

}  // namespace hearth::model
