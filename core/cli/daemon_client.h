// What the commands that go through the daemon share: finding it, and asking it about a file's
// text.
#pragma once

#include <memory>
#include <string>

#include "core/base/result.h"
#include "lsp/client/client.h"
#include "lsp/client/daemon_start.h"

namespace hearth::cli {

/// How long a command waits for one answer.
inline constexpr Duration kAnswerPatience = std::chrono::minutes(5);

/// How clients start hearthd: the program beside ours, ending by itself when nobody is left.
lsp::DaemonStart make_daemon_start();

/// Errors: those of connect_daemon; without `starts` a missing daemon is one.
Result<std::unique_ptr<lsp::Client>> find_daemon(bool starts);

/// A file as hearth/complete, hearth/explain and hearth/fix want it, without its places.
///
/// Errors: not_found, too_large, unsupported (not UTF-8), naming the file.
Result<lsp::HearthTextParams> read_source(const std::string& path);

/// The byte at `LINE:COLUMN`: 1-based line; 1-based column in code points, a tab is one.
/// Errors: invalid_argument (not of that form, or outside the text).
Result<std::uint64_t> parse_place(const std::string& text, const std::string& place);

/// The bytes of the lines `A-B` (or `A`), 1-based and inclusive, without the last line's end.
/// Errors: invalid_argument (not of that form, or outside the text).
struct LineRange {
    std::uint64_t begin_byte = 0;
    std::uint64_t end_byte = 0;
};
Result<LineRange> parse_lines(const std::string& text, const std::string& lines);

/// The answer with counts and times as one line of JSON.
std::string to_json_line(const lsp::HearthTextResult& result);

}  // namespace hearth::cli
