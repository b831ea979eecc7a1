// The `qwen2` pre-tokenizer as the trainer needs it.
#pragma once

#include <cstddef>
#include <string_view>

namespace hearth::training {

/// The size of the first pre-token of `text`, which is not empty.
std::size_t pre_token_bytes(std::string_view text);

}  // namespace hearth::training
