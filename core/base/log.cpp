#include "core/base/log.h"

#include <cstdio>
#include <utility>

namespace hearth {
namespace {

const char* level_name(LogLevel level) {
    switch (level) {
        case LogLevel::debug:
            return "debug";
        case LogLevel::info:
            return "info";
        case LogLevel::warning:
            return "warning";
        case LogLevel::error:
            return "error";
    }
    return "?";
}

void write_to_stderr(LogLevel level, std::string_view room, std::string_view text) {
    std::fprintf(stderr,
                 "%s: %.*s: %.*s\n",
                 level_name(level),
                 static_cast<int>(room.size()),
                 room.data(),
                 static_cast<int>(text.size()),
                 text.data());
}

}  // namespace

Log::Log(LogLevel level_min, Sink sink)
    : level_min_(level_min),
      sink_(sink ? std::move(sink) : Sink(write_to_stderr)) {}

void Log::write(LogLevel level, std::string_view room, std::string_view text) {
    if (level < level_min_) return;
    const LockGuard lock(mutex_);
    sink_(level, room, text);
}

}  // namespace hearth
