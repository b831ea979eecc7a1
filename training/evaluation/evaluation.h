// What a model file is worth, measured through the plan and the kernels that serve it: how many
// bits it needs for text it has not seen.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/compute/compute.h"
#include "core/model/model.h"
#include "core/tokenizer/tokenizer.h"

namespace hearth::evaluation {

/// Of one sequence; the model's context may lower it.
inline constexpr std::int32_t kWindowTokensMax = 2112;

struct BitCount {
    double bits = 0;
    std::int64_t tokens = 0;  ///< that were predicted
    std::int64_t bytes = 0;   ///< of text in these tokens; special tokens have none
};

/// Thread: one at a time.
class Evaluation {
  public:
    /// `backend` outlives it.
    ///
    /// Errors: those of Tokenizer::from_gguf and of the backend.
    static Result<std::unique_ptr<Evaluation>> make(std::shared_ptr<const model::Model> model,
                                                    compute::Backend& backend);

    /// The cost of every token but the first, each predicted from those before it. Special tokens
    /// cost bits as well, so the ends of files are part of the price.
    ///
    /// Errors: too_large (a window beyond the context), invalid_argument (a token outside the
    /// vocabulary), those of the backend.
    Result<BitCount> count_bits(std::span<const std::uint16_t> window);

    [[nodiscard]] const tokenizer::Tokenizer& tokenizer() const { return *tokenizer_; }
    /// Bytes of text in a row of tokens.
    [[nodiscard]] std::int64_t text_bytes(std::span<const std::uint16_t> tokens) const;

  private:
    Evaluation() = default;
    Result<compute::StepOutput> step(std::span<const std::int32_t> tokens, std::int32_t position);

    // Fixed after construction; the weights outlive the program.
    std::shared_ptr<const model::Model> model_;
    std::shared_ptr<const tokenizer::Tokenizer> tokenizer_;
    std::unique_ptr<compute::DeviceWeights> weights_;
    std::unique_ptr<compute::Program> program_;
    std::unique_ptr<compute::KvStore> kv_;
    std::vector<std::int32_t> block_table_;
    std::int32_t tokens_max_ = 0;  ///< of one sequence
};

}  // namespace hearth::evaluation
