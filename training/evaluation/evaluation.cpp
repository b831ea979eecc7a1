#include "training/evaluation/evaluation.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string_view>

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

bool has_newline(const tokenizer::Tokenizer& tokenizer, std::int32_t token) {
    return tokenizer.token_bytes(token).find('\n') != std::string_view::npos;
}

/// The last `count` tokens, from the start of a line on if one starts among them.
void keep_tail(Tokens& tokens, std::size_t count, const tokenizer::Tokenizer& tokenizer) {
    if (tokens.size() <= count) return;
    tokens.erase(tokens.begin(), tokens.end() - static_cast<std::ptrdiff_t>(count));
    const auto newline = std::ranges::find_if(
        tokens, [&](std::int32_t token) { return has_newline(tokenizer, token); });
    if (newline != tokens.end()) tokens.erase(tokens.begin(), newline + 1);
}

/// The first `count` tokens, whole lines unless that would lose more than half.
void keep_head(Tokens& tokens, std::size_t count, const tokenizer::Tokenizer& tokenizer) {
    if (tokens.size() <= count) return;
    tokens.resize(count);
    const auto newline = std::find_if(tokens.rbegin(), tokens.rend(), [&](std::int32_t token) {
        return has_newline(tokenizer, token);
    });
    if (newline.base() - tokens.begin() > static_cast<std::ptrdiff_t>(count / 2)) {
        tokens.erase(newline.base(), tokens.end());
    }
}

}  // namespace

Result<std::unique_ptr<Evaluation>> Evaluation::make(std::shared_ptr<const model::Model> model,
                                                     compute::Backend& backend) {
    std::unique_ptr<Evaluation> self(new Evaluation);
    self->model_ = std::move(model);
    HEARTH_TRY(self->tokenizer_, tokenizer::Tokenizer::from_gguf(self->model_->file()));
    self->tokens_max_ =
        std::min(self->model_->config().context_length, kPromptTokensMax + kAnswerTokensMax);
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
                                             std::int32_t position,
                                             LogitRows rows) {
    Tokens positions(tokens.size());
    std::iota(positions.begin(), positions.end(), position);
    const Tokens sequence_of(tokens.size(), 0);
    Tokens logit_rows(rows == LogitRows::all ? tokens.size() : 1);
    std::iota(logit_rows.begin(),
              logit_rows.end(),
              static_cast<std::int32_t>(tokens.size() - logit_rows.size()));
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
        HEARTH_TRY(const auto output,
                   step(piece, static_cast<std::int32_t>(begin), LogitRows::all));
        for (std::size_t row = 0; row < piece.size(); ++row) {
            count.bits += bits_of(output.logits.subspan(row * vocab_size, vocab_size),
                                  tokens[begin + row + 1]);
        }
    }
    count.tokens = static_cast<std::int64_t>(inputs.size());
    count.bytes = text_bytes(window.subspan(1));
    return count;
}

/// As the model was trained and as assist asks: the suffix first, in at most a quarter of the
/// budget.
Result<Tokens> Evaluation::make_prompt(const LineCase& cursor) const {
    const tokenizer::SpecialTokens& special = tokenizer_->special();
    if (!special.file_sep || !special.fim_suffix || !special.fim_prefix || !special.fim_middle) {
        return fail(ErrorCode::unsupported,
                    "the model cannot fill in at a cursor: its vocabulary lacks <|file_sep|> or "
                    "the fill-in-the-middle tokens",
                    std::string(kWhere));
    }
    HEARTH_TRY(const Tokens path, tokenizer_->encode(cursor.path + "\n"));
    HEARTH_TRY(Tokens suffix, tokenizer_->encode(cursor.suffix));
    HEARTH_TRY(Tokens prefix, tokenizer_->encode(cursor.prefix));
    const auto budget =
        static_cast<std::size_t>(std::clamp(tokens_max_ - kAnswerTokensMax, 0, kPromptTokensMax));
    keep_head(suffix, budget / 4, *tokenizer_);
    const std::size_t used = path.size() + suffix.size() + 4;  // 4: the special tokens
    if (used >= budget) {
        return fail(ErrorCode::too_large,
                    "a context of " + std::to_string(tokens_max_) +
                        " tokens leaves no room for the text before the cursor in " + cursor.path,
                    std::string(kWhere));
    }
    keep_tail(prefix, budget - used, *tokenizer_);
    Tokens prompt = {*special.file_sep};
    prompt.insert(prompt.end(), path.begin(), path.end());
    prompt.push_back(*special.fim_suffix);
    prompt.insert(prompt.end(), suffix.begin(), suffix.end());
    prompt.push_back(*special.fim_prefix);
    prompt.insert(prompt.end(), prefix.begin(), prefix.end());
    prompt.push_back(*special.fim_middle);
    return prompt;
}

Result<std::string> Evaluation::complete_line(const LineCase& cursor) {
    HEARTH_TRY(const Tokens prompt, make_prompt(cursor));
    std::string line;
    Tokens piece = prompt;
    std::int32_t position = 0;
    for (std::int32_t answered = 0; answered < kAnswerTokensMax; ++answered) {
        const std::span<const std::int32_t> tokens(piece);
        std::int32_t next = 0;
        for (std::size_t begin = 0; begin < tokens.size(); begin += kStepTokens) {
            const auto part = tokens.subspan(begin, std::min(kStepTokens, tokens.size() - begin));
            HEARTH_TRY(const auto output, step(part, position, LogitRows::last));
            position += static_cast<std::int32_t>(part.size());
            const auto best = std::ranges::max_element(output.logits);
            next = static_cast<std::int32_t>(best - output.logits.begin());
        }
        if (std::ranges::count(tokenizer_->end_tokens(), next) > 0) break;
        if (!tokenizer_->is_special(next)) line += tokenizer_->token_bytes(next);
        const std::size_t newline = line.find('\n');
        if (newline != std::string::npos) return line.substr(0, newline);
        piece = {next};
    }
    return line;
}

}  // namespace hearth::evaluation
