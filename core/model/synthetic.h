// Models of real shapes with random weights, made in memory: what the product is measured with
// where no file can be fetched. Speed, memory and numbers are meaningful; text is not. There is no
// vocabulary.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/formats/gguf.h"

namespace hearth::model {

struct SyntheticOptions {
    std::uint64_t seed = 1;
    std::int32_t thread_count = 0;  ///< 0: one per core
    /// False: only sizes are wanted; the bytes are zeros that take no memory.
    bool is_filled = true;
};

/// Makes "NAME:TYPE", for example "deepseek-v2-lite:Q4_K_M". Each tensor has the type that it has
/// in a real file of that kind: Q4_K_M mixes Q4_K and Q6_K and falls back where rows are no
/// multiple of 256; MXFP4 is for routed experts, beside Q8_0; any other type is for all matrices.
/// Routers and norms are F32. Quants are uniformly random and their scales such that weights have a
/// standard deviation of about kSyntheticDeviation; norms are 1. The same for any number of
/// threads.
///
/// Errors: invalid_argument, naming the known names or types; out_of_memory.
Result<std::shared_ptr<const formats::GgufFile>> make_synthetic(
    std::string_view spec, const SyntheticOptions& options = {});

inline constexpr double kSyntheticDeviation = 0.02;

/// "tiny, ds2-small, ...", for texts.
std::string synthetic_names();

}  // namespace hearth::model
