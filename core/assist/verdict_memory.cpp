#include "core/assist/verdict_memory.h"

#include <algorithm>
#include <utility>

namespace hearth::assist {

std::optional<double> ToldLine::from(std::ptrdiff_t begin_byte) const {
    const auto first = std::ranges::find(tokens, begin_byte, &Token::begin_byte);
    if (first == tokens.end()) return std::nullopt;
    double sum = 0.0;
    for (auto token = first; token != tokens.end(); ++token) {
        sum += token->log_probability;
    }
    return sum;
}

std::optional<ToldLine> VerdictMemory::find(const std::string& key) const {
    const LockGuard lock(mutex_);
    const auto found = told_.find(key);
    return found == told_.end() ? std::nullopt : std::optional(found->second);
}

void VerdictMemory::keep(const std::string& key, ToldLine told) {
    const LockGuard lock(mutex_);
    if (!told_.insert_or_assign(key, std::move(told)).second) return;
    oldest_first_.push_back(key);
    if (oldest_first_.size() <= kLinesKeptMax) return;
    told_.erase(oldest_first_.front());
    oldest_first_.pop_front();
}

}  // namespace hearth::assist
