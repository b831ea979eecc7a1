// What a model file is worth, measured through the plan and the kernels that serve it: how many
// bits it needs for text it has not seen, and what it writes at a cursor. It asks as the product
// asks, with the same shares of the same budget; it scores nothing and knows no files of cases.
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

/// The limits of the product's completions; the model's context may lower the first.
inline constexpr std::int32_t kPromptTokensMax = 2048;
inline constexpr std::int32_t kAnswerTokensMax = 64;

struct BitCount {
    double bits = 0;
    std::int64_t tokens = 0;  ///< that were predicted
    std::int64_t bytes = 0;   ///< of text in these tokens; special tokens have none
};

/// A cursor in a file.
struct LineCase {
    std::string path, prefix, suffix;
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

    /// The greedy answer at the cursor, up to the end of its line.
    ///
    /// Errors: unsupported (no fill-in-the-middle tokens), too_large (a context that holds no
    /// prompt), those of the tokenizer and of the backend.
    Result<std::string> complete_line(const LineCase& cursor);

    [[nodiscard]] const tokenizer::Tokenizer& tokenizer() const { return *tokenizer_; }
    /// Bytes of text in a row of tokens.
    [[nodiscard]] std::int64_t text_bytes(std::span<const std::uint16_t> tokens) const;

  private:
    enum class LogitRows { all, last };

    Evaluation() = default;
    Result<compute::StepOutput> step(std::span<const std::int32_t> tokens,
                                     std::int32_t position,
                                     LogitRows rows);
    [[nodiscard]] Result<std::vector<std::int32_t>> make_prompt(const LineCase& cursor) const;

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
