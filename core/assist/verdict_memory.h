// VerdictMemory: while somebody types along a line, the same lines are found again for every key,
// and what follows is as probable behind each as it was. So that is asked once.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>

#include "core/base/mutex.h"

namespace hearth::assist {

/// Verdicts that are kept: some keys' at some cursors, each with 1 KB of text at most.
inline constexpr std::size_t kVerdictsKeptMax = 512;

/// Thread: any.
class VerdictMemory {
  public:
    /// `key` is all that the verdict was told by.
    [[nodiscard]] std::optional<double> find(const std::string& key) const;
    /// The oldest one is forgotten for it.
    void keep(const std::string& key, double verdict);

  private:
    mutable Mutex mutex_;
    std::unordered_map<std::string, double> verdicts_ HEARTH_GUARDED_BY(mutex_);
    std::deque<std::string> oldest_first_ HEARTH_GUARDED_BY(mutex_);
};

}  // namespace hearth::assist
