#include "core/engine/draft_worth.h"

#include <algorithm>
#include <bit>

namespace hearth::engine {

std::size_t DraftWorth::index_of(std::size_t sequences) {
    const auto width =
        static_cast<std::size_t>(std::bit_width(std::max<std::size_t>(sequences, 1)));
    return std::min(width, std::tuple_size_v<decltype(cases_)>) - 1;
}

void DraftWorth::note(std::size_t sequences, std::int32_t tokens, Duration took) {
    constexpr double kOlder = 0.9;  // what a step counts when one more is known
    Case& own = cases_[index_of(sequences)];
    Rate& rate = should_draft(sequences) ? own.drafting : own.plain;
    rate.seconds = kOlder * rate.seconds + std::chrono::duration<double>(took).count();
    rate.tokens = kOlder * rate.tokens + tokens;
    if (own.trial_left > 0) {
        if (--own.trial_left == 0) own.end_trial();
        return;
    }
    own.is_drafting = own.is_drafting_better();
    if (--own.period_left > 0) return;
    own.trial_left = kTrialSteps;
    own.is_trial_drafting = !own.is_drafting;
    (own.is_trial_drafting ? own.drafting : own.plain) = {};
}

void DraftWorth::Case::end_trial() {
    if (!is_measured && !is_trial_drafting) {
        trial_left = kTrialSteps;
        is_trial_drafting = true;
        return;
    }
    const bool was_drafting = is_drafting;
    is_drafting = is_drafting_better();
    const bool is_news = !is_measured || is_drafting != was_drafting;
    period = is_news ? kPeriodMin : std::min(2 * period, kPeriodMax);
    period_left = period;
    is_measured = true;
}

}  // namespace hearth::engine
