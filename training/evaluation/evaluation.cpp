#include "training/evaluation/evaluation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace hearth::evaluation {
namespace {

using Tokens = std::vector<std::int32_t>;

constexpr std::size_t kStepTokens = 128;
constexpr std::string_view kWhere = "evaluation";

/// -log2 of the probability that the logits give to `token`.
double bits_of(std::span<const float> logits, std::int32_t token) {
    const float best = *std::ranges::max_element(logits);
    double sum = 0;
    for (const float logit : logits) {
        sum += std::exp(static_cast<double>(logit - best));
    }
    const double distance = best - logits[static_cast<std::size_t>(token)];
    return (std::log(sum) + distance) / std::log(2.0);
}

}  // namespace

Result<std::unique_ptr<Evaluation>> Evaluation::make(std::shared_ptr<const model::Model> model,
                                                     compute::Backend& backend) {
    std::unique_ptr<Evaluation> self(new Evaluation);
    self->model_ = std::move(model);
    HEARTH_TRY(self->tokenizer_, tokenizer::Tokenizer::from_gguf(self->model_->file()));
    self->tokens_max_ = std::min(self->model_->config().context_length, kWindowTokensMax);
    const compute::Plan plan = self->model_->plan(static_cast<std::int32_t>(kStepTokens));
    HEARTH_TRY(self->weights_, backend.upload(self->model_->weights()));
    HEARTH_TRY(self->program_, backend.compile(plan, *self->weights_));
    const std::int32_t block_count =
        (self->tokens_max_ + compute::kBlockTokens - 1) / compute::kBlockTokens;
    HEARTH_TRY(self->kv_, backend.make_kv_store(plan.kv, block_count));
    self->block_table_.resize(static_cast<std::size_t>(block_count));
    std::iota(self->block_table_.begin(), self->block_table_.end(), 0);
    return self;
}

Result<compute::StepOutput> Evaluation::step(std::span<const std::int32_t> tokens,
                                             std::int32_t position) {
    Tokens positions(tokens.size());
    std::iota(positions.begin(), positions.end(), position);
    const Tokens sequence_of(tokens.size(), 0);
    Tokens logit_rows(tokens.size());
    std::iota(logit_rows.begin(), logit_rows.end(), 0);
    const compute::SequenceView sequence{block_table_};
    return program_->run({.tokens = tokens,
                          .positions = positions,
                          .sequence_of = sequence_of,
                          .sequences = {&sequence, 1},
                          .logit_rows = logit_rows},
                         *kv_);
}

std::int64_t Evaluation::text_bytes(std::span<const std::uint16_t> tokens) const {
    std::int64_t bytes = 0;
    for (const std::uint16_t token : tokens) {
        if (tokenizer_->is_special(token)) continue;
        bytes += static_cast<std::int64_t>(tokenizer_->token_bytes(token).size());
    }
    return bytes;
}

std::optional<PlainWindow> Evaluation::find_plain(std::span<const std::uint16_t> window) const {
    const tokenizer::SpecialTokens& special = tokenizer_->special();
    if (window.empty() || window.front() != special.file_sep) return std::nullopt;
    PlainWindow plain;
    std::size_t at = 1;
    while (at < window.size() && !plain.path.ends_with('\n')) {
        if (tokenizer_->is_special(window[at])) return std::nullopt;
        plain.path += tokenizer_->token_bytes(window[at++]);
    }
    const std::size_t recall_end = at + kRecallPromptTokens + kRecallTokens;
    if (recall_end > window.size()) return std::nullopt;
    plain.text_begin = at;
    for (; at < window.size(); ++at) {
        const bool may_be_special = at >= recall_end && (window[at] == special.file_sep ||
                                                         window[at] == special.end_of_text);
        if (tokenizer_->is_special(window[at]) && !may_be_special) return std::nullopt;
    }
    plain.path.pop_back();
    return plain;
}

std::size_t count_recalled(const PlainWindow& plain, const BitCount& count) {
    const std::size_t first = plain.text_begin + kRecallPromptTokens;
    std::size_t recalled = 0;
    // is_top[i] speaks of token i + 1.
    while (recalled < kRecallTokens && count.is_top[first + recalled - 1]) {
        ++recalled;
    }
    return recalled;
}

Result<BitCount> Evaluation::count_bits(std::span<const std::uint16_t> window) {
    const auto vocab_size = static_cast<std::size_t>(model_->config().vocab_size);
    if (window.size() > static_cast<std::size_t>(tokens_max_)) {
        return fail(ErrorCode::too_large,
                    "a window has " + std::to_string(window.size()) + " tokens and the context " +
                        std::to_string(tokens_max_),
                    std::string(kWhere));
    }
    const Tokens tokens(window.begin(), window.end());
    for (const std::int32_t token : tokens) {
        if (static_cast<std::size_t>(token) < vocab_size) continue;
        return fail(ErrorCode::invalid_argument,
                    "token " + std::to_string(token) + " is outside the vocabulary of " +
                        std::to_string(vocab_size) + "; the shards are not of this model",
                    std::string(kWhere));
    }
    BitCount count;
    if (tokens.empty()) return count;
    const std::span<const std::int32_t> inputs(tokens.data(), tokens.size() - 1);
    for (std::size_t begin = 0; begin < inputs.size(); begin += kStepTokens) {
        const auto piece = inputs.subspan(begin, std::min(kStepTokens, inputs.size() - begin));
        HEARTH_TRY(const auto output, step(piece, static_cast<std::int32_t>(begin)));
        for (std::size_t row = 0; row < piece.size(); ++row) {
            const auto logits = output.logits.subspan(row * vocab_size, vocab_size);
            const std::int32_t next = tokens[begin + row + 1];
            count.bits += bits_of(logits, next);
            // The first of equal ones, as the sampler picks.
            const auto top = std::ranges::max_element(logits) - logits.begin();
            count.is_top.push_back(top == next);
        }
    }
    count.tokens = static_cast<std::int64_t>(inputs.size());
    count.bytes = text_bytes(window.subspan(1));
    return count;
}

}  // namespace hearth::evaluation
