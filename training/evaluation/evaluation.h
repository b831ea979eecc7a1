// What a model file is worth, measured through the plan and the kernels that serve it: how many
// bits it needs for text, and whether it would write that text by itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
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
    std::int64_t tokens = 0;        ///< that were predicted
    std::int64_t bytes = 0;         ///< of text in these tokens; special tokens have none
    std::vector<bool> is_top = {};  ///< by predicted token: no other was likelier
};

/// Tokens of a file that the model is given and is then asked to go on from, in a check of what it
/// knows by heart.
inline constexpr std::size_t kRecallPromptTokens = 50;
inline constexpr std::size_t kRecallTokens = 50;

/// A window of code from left to right: a path line, then text, without a hole and without another
/// file in the tokens that recall looks at.
struct PlainWindow {
    std::string path;
    std::size_t text_begin = 0;  ///< the token after the path line
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

    /// Nothing where the window is of another kind.
    [[nodiscard]] std::optional<PlainWindow> find_plain(
        std::span<const std::uint16_t> window) const;

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

/// How many of the kRecallTokens after the prompt a greedy answer repeats, from the first on: as
/// long as each token is the likeliest after the true ones, greedy text is the true text.
std::size_t count_recalled(const PlainWindow& plain, const BitCount& count);

}  // namespace hearth::evaluation
