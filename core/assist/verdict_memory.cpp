#include "core/assist/verdict_memory.h"

namespace hearth::assist {

std::optional<double> VerdictMemory::find(const std::string& key) const {
    const LockGuard lock(mutex_);
    const auto found = verdicts_.find(key);
    return found == verdicts_.end() ? std::nullopt : std::optional(found->second);
}

void VerdictMemory::keep(const std::string& key, double verdict) {
    const LockGuard lock(mutex_);
    if (!verdicts_.emplace(key, verdict).second) return;
    oldest_first_.push_back(key);
    if (oldest_first_.size() <= kVerdictsKeptMax) return;
    verdicts_.erase(oldest_first_.front());
    oldest_first_.pop_front();
}

}  // namespace hearth::assist
