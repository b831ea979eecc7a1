// VerdictMemory: while somebody types along a line, the same lines are found again for every key,
// and their tokens and what follows are as probable as they were. So that is asked once.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/base/mutex.h"

namespace hearth::assist {

/// What a model has said of a whole line, in natural logarithms.
struct ToldLine {
    struct Token {
        std::ptrdiff_t begin_byte;  ///< in the line; of the healed text it may be before it
        double log_probability;
    };
    double next;                ///< of what follows the line
    std::vector<Token> tokens;  ///< of the line's last part, with its end; none: not asked about

    /// Of the line from there on; nothing where no known token begins there.
    [[nodiscard]] std::optional<double> from(std::ptrdiff_t begin_byte) const;
};

/// Lines that are kept: those of some keys at some cursors, with the 360 bytes that follow at most.
inline constexpr std::size_t kLinesKeptMax = 512;

/// Thread: any.
class VerdictMemory {
  public:
    /// `key` is all that the line was told by.
    [[nodiscard]] std::optional<ToldLine> find(const std::string& key) const;
    /// In the place of what was kept for the key; the oldest key is forgotten for a new one.
    void keep(const std::string& key, ToldLine told);

  private:
    mutable Mutex mutex_;
    std::unordered_map<std::string, ToldLine> told_ HEARTH_GUARDED_BY(mutex_);
    std::deque<std::string> oldest_first_ HEARTH_GUARDED_BY(mutex_);
};

}  // namespace hearth::assist
