#include "core/cli/forward.h"

#include <algorithm>
#include <numeric>

#include "core/base/assert.h"

namespace hearth::cli {
namespace {

std::int32_t blocks_for(std::int32_t tokens) {
    return (tokens + compute::kBlockTokens - 1) / compute::kBlockTokens;
}

}  // namespace

Result<std::unique_ptr<Forward>> Forward::make(const model::Model& model,
                                               compute::Backend& backend,
                                               const ForwardLimits& limits,
                                               std::span<const compute::HostExperts> host_experts) {
    HEARTH_CHECK(backend.check_cache_type(limits.cache_type));
    std::unique_ptr<Forward> forward(new Forward);
    forward->limits_ = limits;
    compute::Plan plan = model.plan(std::max(limits.step_tokens, limits.sequence_count));
    plan.kv.dtype = limits.cache_type;
    plan.positions_max = std::max(limits.sequence_tokens_max, limits.first_tokens_max);
    HEARTH_CHECK(compute::validate(plan, model.weights()));
    HEARTH_TRY(forward->weights_,
               host_experts.empty() ? backend.upload(model.weights())
                                    : backend.upload_partly(model.weights(), host_experts));
    HEARTH_TRY(forward->program_, backend.compile(plan, *forward->weights_));
    const std::int32_t block_count =
        std::max(limits.sequence_count * blocks_for(limits.sequence_tokens_max),
                 blocks_for(limits.first_tokens_max));
    HEARTH_TRY(forward->kv_, backend.make_kv_store(plan.kv, block_count));
    forward->blocks_.resize(static_cast<std::size_t>(block_count));
    std::iota(forward->blocks_.begin(), forward->blocks_.end(), 0);
    return forward;
}

Result<compute::StepOutput> Forward::step(std::span<const std::int32_t> tokens,
                                          std::int32_t position,
                                          LogitRows rows) {
    HEARTH_ASSERT(!tokens.empty() &&
                  tokens.size() <= static_cast<std::size_t>(limits_.step_tokens));
    std::vector<std::int32_t> positions(tokens.size());
    std::iota(positions.begin(), positions.end(), position);
    const std::vector<std::int32_t> sequence_of(tokens.size(), 0);
    std::vector<std::int32_t> logit_rows(rows == LogitRows::all ? tokens.size() : 1);
    std::iota(logit_rows.begin(),
              logit_rows.end(),
              static_cast<std::int32_t>(tokens.size() - logit_rows.size()));
    const auto count = static_cast<std::int32_t>(tokens.size());
    const compute::SequenceView sequence{blocks_, count > 1 ? position + count : 0};
    return program_->run({.tokens = tokens,
                          .positions = positions,
                          .sequence_of = sequence_of,
                          .sequences = {&sequence, 1},
                          .logit_rows = logit_rows},
                         *kv_);
}

Result<compute::StepOutput> Forward::step_each(std::span<const std::int32_t> tokens,
                                               std::int32_t position) {
    HEARTH_ASSERT(!tokens.empty() &&
                  tokens.size() <= static_cast<std::size_t>(limits_.sequence_count));
    const std::vector<std::int32_t> positions(tokens.size(), position);
    std::vector<std::int32_t> sequence_of(tokens.size());
    std::iota(sequence_of.begin(), sequence_of.end(), 0);
    const auto sequences = views_of(static_cast<std::int32_t>(tokens.size()));
    return program_->run({.tokens = tokens,
                          .positions = positions,
                          .sequence_of = sequence_of,
                          .sequences = sequences,
                          .logit_rows = sequence_of},
                         *kv_);
}

Result<void> Forward::run_ahead(std::span<const std::int32_t> tokens,
                                std::int32_t sequences,
                                std::int32_t position) {
    const auto width = static_cast<std::size_t>(sequences);
    HEARTH_ASSERT(picks_tokens() && sequences <= limits_.sequence_count);
    HEARTH_ASSERT(!tokens.empty() && tokens.size() % width == 0);
    compute::StepQueue& queue = *program_->step_queue();
    const auto views = views_of(sequences);
    std::vector<std::int32_t> sequence_of(width);
    std::iota(sequence_of.begin(), sequence_of.end(), 0);
    for (std::size_t begin = 0; begin < tokens.size(); begin += width, ++position) {
        const std::vector<std::int32_t> positions(width, position);
        const std::vector<compute::PickOrder> orders(width, {{}, position + 1});
        HEARTH_CHECK(queue.launch({.tokens = tokens.subspan(begin, width),
                                   .positions = positions,
                                   .sequence_of = sequence_of,
                                   .sequences = views,
                                   .logit_rows = sequence_of},
                                  orders,
                                  *kv_));
        if (begin == 0) continue;
        HEARTH_TRY([[maybe_unused]] const auto picks, queue.collect());
    }
    HEARTH_TRY([[maybe_unused]] const auto last_picks, queue.collect());
    return {};
}

Result<void> Forward::answer(std::span<const std::int32_t> tokens,
                             std::int32_t prompt_tokens,
                             std::int32_t position) {
    compute::StepQueue* queue = program_->step_queue();
    const compute::SequenceView view{blocks_, position + prompt_tokens};
    std::size_t begin = 0;
    for (auto count = static_cast<std::size_t>(prompt_tokens); begin < tokens.size(); count = 1) {
        const auto piece = tokens.subspan(begin, count);
        if (queue == nullptr) {
            HEARTH_TRY([[maybe_unused]] const auto output, step(piece, position, LogitRows::last));
        } else {
            std::vector<std::int32_t> positions(count);
            std::iota(positions.begin(), positions.end(), position);
            const std::vector<std::int32_t> sequence_of(count, 0);
            const auto last = static_cast<std::int32_t>(count) - 1;
            const compute::PickOrder order{{}, position + static_cast<std::int32_t>(count)};
            HEARTH_CHECK(queue->launch({.tokens = piece,
                                        .positions = positions,
                                        .sequence_of = sequence_of,
                                        .sequences = {&view, 1},
                                        .logit_rows = {&last, 1}},
                                       {&order, 1},
                                       *kv_));
            if (begin > 0) {
                HEARTH_TRY([[maybe_unused]] const auto picks, queue->collect());
            }
        }
        begin += count;
        position += static_cast<std::int32_t>(count);
    }
    if (queue == nullptr) return {};
    HEARTH_TRY([[maybe_unused]] const auto last_picks, queue->collect());
    return {};
}

Result<void> Forward::fill_cache(std::span<const std::int32_t> tokens) {
    HEARTH_TRY([[maybe_unused]] const auto output, step(tokens, 0, LogitRows::last));
    const std::int32_t filled = blocks_for(static_cast<std::int32_t>(tokens.size()));
    for (std::int32_t block = filled; block < kv_->block_count(); ++block) {
        kv_->copy_block(block % filled, block);
    }
    return {};
}

std::vector<compute::SequenceView> Forward::views_of(std::int32_t count) const {
    if (count == 1) return {{blocks_}};
    std::vector<compute::SequenceView> views;
    views.reserve(static_cast<std::size_t>(count));
    for (std::int32_t sequence = 0; sequence < count; ++sequence) {
        views.push_back({blocks_of(sequence)});
    }
    return views;
}

std::span<const std::int32_t> Forward::blocks_of(std::int32_t sequence) const {
    const auto count = static_cast<std::size_t>(blocks_for(limits_.sequence_tokens_max));
    return std::span(blocks_).subspan(static_cast<std::size_t>(sequence) * count, count);
}

}  // namespace hearth::cli
