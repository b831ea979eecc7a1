// Log: lines with a level and a room. Code text never goes into a log line.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "core/base/mutex.h"

namespace hearth {

enum class LogLevel { debug, info, warning, error };

/// Writes lines of at least a level to a sink; stderr unless told otherwise.
///
/// Thread: any; the sink is called under a lock, one line at a time.
class Log {
  public:
    using Sink = std::function<void(LogLevel, std::string_view room, std::string_view text)>;

    explicit Log(LogLevel level_min = LogLevel::info, Sink sink = {});

    void write(LogLevel level, std::string_view room, std::string_view text);
    void debug(std::string_view room, std::string_view text) { write(LogLevel::debug, room, text); }
    void info(std::string_view room, std::string_view text) { write(LogLevel::info, room, text); }
    void warning(std::string_view room, std::string_view text) {
        write(LogLevel::warning, room, text);
    }
    void error(std::string_view room, std::string_view text) { write(LogLevel::error, room, text); }

  private:
    const LogLevel level_min_;
    Mutex mutex_;
    const Sink sink_;
};

}  // namespace hearth
