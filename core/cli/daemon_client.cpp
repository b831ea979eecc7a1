#include "core/cli/daemon_client.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>

#include <nlohmann/json.hpp>

#include "core/cli/program.h"
#include "core/cli/serve_options.h"

namespace hearth::cli {
namespace {

constexpr std::uintmax_t kSourceBytesMax = 8U << 20;
constexpr int kPathPartsShown = 3;

struct Language {
    std::string_view extension;
    std::string_view id;
};
constexpr std::array<Language, 26> kLanguages = {{
    {".c", "c"},
    {".h", "cpp"},
    {".cc", "cpp"},
    {".cpp", "cpp"},
    {".cxx", "cpp"},
    {".hpp", "cpp"},
    {".cu", "cuda-cpp"},
    {".py", "python"},
    {".go", "go"},
    {".rs", "rust"},
    {".java", "java"},
    {".kt", "kotlin"},
    {".js", "javascript"},
    {".mjs", "javascript"},
    {".jsx", "javascriptreact"},
    {".ts", "typescript"},
    {".tsx", "typescriptreact"},
    {".sh", "shellscript"},
    {".rb", "ruby"},
    {".php", "php"},
    {".lua", "lua"},
    {".cs", "csharp"},
    {".swift", "swift"},
    {".sql", "sql"},
    {".md", "markdown"},
    {".vim", "vim"},
}};

std::string find_language(const std::filesystem::path& path) {
    const std::string extension = path.extension().string();
    for (const Language& language : kLanguages) {
        if (language.extension == extension) return std::string(language.id);
    }
    return "plaintext";
}

/// As the editors' sessions show paths: relative ones as they are, absolute ones by their last
/// parts.
std::string shown_path(const std::filesystem::path& path) {
    if (path.is_relative()) return path.lexically_normal().generic_string();
    std::filesystem::path shown;
    int parts = 0;
    for (std::filesystem::path rest = path; rest.has_filename() && parts < kPathPartsShown;
         ++parts) {
        shown = shown.empty() ? rest.filename() : rest.filename() / shown;
        rest = rest.parent_path();
    }
    return shown.generic_string();
}

bool is_continuation(char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
}

/// Whether the bytes are UTF-8: what a JSON message can carry.
bool is_utf8(const std::string& text) {
    const std::string dumped =
        nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::ignore);
    const nlohmann::json back = nlohmann::json::parse(dumped, nullptr, false);
    return back.is_string() && back.get_ref<const std::string&>() == text;
}

/// A number from 1, and nothing else.
std::optional<std::uint64_t> parse_count(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value == 0) return std::nullopt;
    return value;
}

/// The begin of line `line`, from 1; empty when the text has fewer. A last line end is followed by
/// an empty line.
std::optional<std::uint64_t> find_line_begin(const std::string& text, std::uint64_t line) {
    std::size_t at = 0;
    for (std::uint64_t i = 1; i < line; ++i) {
        at = text.find('\n', at);
        if (at == std::string::npos) return std::nullopt;
        ++at;
    }
    return at;
}

std::uint64_t find_line_end(const std::string& text, std::uint64_t begin) {
    std::size_t end = std::min(text.find('\n', begin), text.size());
    if (end > begin && text[end - 1] == '\r') --end;
    return end;
}

Failure misplaced(const std::string& text) {
    return fail(ErrorCode::invalid_argument, text, "cli");
}

}  // namespace

lsp::DaemonStart make_daemon_start() {
    ServeOptions options;
    options.idle_exit_minutes = kIdleExitMinutes;
    lsp::DaemonStart start;
    start.program = Program::folder() + "/hearthd";
    start.arguments = to_arguments(options);
    return start;
}

Result<std::unique_ptr<lsp::Client>> find_daemon(bool starts) {
    HEARTH_TRY(const std::string folder, lsp::ensure_runtime_folder());
    const lsp::DaemonStart start = make_daemon_start();
    return lsp::connect_daemon(folder, starts ? &start : nullptr);
}

Result<lsp::HearthTextParams> read_source(const std::string& path) {
    std::error_code error;
    const std::uintmax_t size_bytes = std::filesystem::file_size(path, error);
    if (error)
        return fail(ErrorCode::not_found, "cannot read " + path + ": " + error.message(), "cli");
    if (size_bytes > kSourceBytesMax) {
        return fail(ErrorCode::too_large,
                    path + " is larger than " + std::to_string(kSourceBytesMax) + " bytes",
                    "cli");
    }
    std::ifstream file(path, std::ios::binary);
    if (!file) return fail(ErrorCode::io, "cannot open " + path + " for reading", "cli");
    lsp::HearthTextParams params;
    params.text.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    if (!is_utf8(params.text)) {
        return fail(ErrorCode::unsupported, path + " is not UTF-8 text; convert it first", "cli");
    }
    params.path = shown_path(path);
    params.language = find_language(path);
    return params;
}

Result<std::uint64_t> parse_place(const std::string& text, const std::string& place) {
    const std::size_t colon = place.find(':');
    const auto line = parse_count(std::string_view(place).substr(0, colon));
    const auto column = colon == std::string::npos
                            ? std::nullopt
                            : parse_count(std::string_view(place).substr(colon + 1));
    if (!line || !column)
        return misplaced("a place is LINE:COLUMN, both from 1; found \"" + place + "\"");
    const std::optional<std::uint64_t> begin = find_line_begin(text, *line);
    if (!begin) return misplaced("the file has no line " + std::to_string(*line));
    const std::uint64_t end = find_line_end(text, *begin);
    std::uint64_t at = *begin;
    for (std::uint64_t i = 1; i < *column; ++i) {
        if (at >= end) {
            return misplaced("line " + std::to_string(*line) + " has no column " +
                             std::to_string(*column));
        }
        ++at;
        while (at < end && is_continuation(text[at])) {
            ++at;
        }
    }
    return at;
}

Result<LineRange> parse_lines(const std::string& text, const std::string& lines) {
    const std::size_t dash = lines.find('-');
    const auto first = parse_count(std::string_view(lines).substr(0, dash));
    const auto last =
        dash == std::string::npos ? first : parse_count(std::string_view(lines).substr(dash + 1));
    if (!first || !last || *last < *first) {
        return misplaced("lines are A-B or A, from 1, the first not after the last; found \"" +
                         lines + "\"");
    }
    const std::optional<std::uint64_t> begin = find_line_begin(text, *first);
    const std::optional<std::uint64_t> last_begin = find_line_begin(text, *last);
    if (!begin || !last_begin) return misplaced("the file has no line " + std::to_string(*last));
    return LineRange{*begin, find_line_end(text, *last_begin)};
}

std::string to_json_line(const lsp::HearthTextResult& result) {
    nlohmann::ordered_json json;
    json["text"] = result.text;
    json["tokens"] = result.tokens;
    json["prompt_tokens"] = result.prompt_tokens;
    json["cached_tokens"] = result.cached_tokens;
    json["first_token_ms"] = result.first_token_ms;
    json["total_ms"] = result.total_ms;
    return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace hearth::cli
