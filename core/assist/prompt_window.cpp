#include "core/assist/prompt_window.h"

#include <algorithm>
#include <bit>

namespace hearth::assist {
namespace {

// Code has 3 to 4.5 bytes per token; deep indentation has more. A window of this many is nearly
// always filled, and bounds the work whatever the size of the document.
constexpr std::uint64_t kBytesPerTokenMax = 6;

bool is_continuation(char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U;
}

/// The anchor of the `quantum` bytes from `begin`: the first start of a line in it, else `begin`
/// itself. Depends on the text of these bytes alone.
std::uint64_t anchor_of(std::string_view text, std::uint64_t begin, std::uint64_t quantum) {
    if (begin == 0) return 0;
    const std::string_view range = text.substr(begin - 1, quantum);
    const std::size_t newline = range.find('\n');
    if (newline == std::string_view::npos) return next_character_start(text, begin);
    return begin + newline;
}

/// The first anchor at or after `from`.
std::uint64_t next_anchor(std::string_view text, std::uint64_t from, std::uint64_t quantum) {
    const std::uint64_t begin = from / quantum * quantum;
    const std::uint64_t anchor = anchor_of(text, begin, quantum);
    if (anchor >= from) return anchor;
    return begin + quantum >= text.size() ? text.size() : anchor_of(text, begin + quantum, quantum);
}

std::uint64_t bytes_of(const tokenizer::Tokenizer& tokenizer,
                       std::span<const std::int32_t> tokens) {
    std::uint64_t bytes = 0;
    for (const std::int32_t token : tokens) {
        bytes += tokenizer.token_bytes(token).size();
    }
    return bytes;
}

}  // namespace

std::uint64_t character_start(std::string_view text, std::uint64_t at) {
    if (at >= text.size()) return text.size();
    while (at > 0 && is_continuation(text[at])) {
        --at;
    }
    return at;
}

std::uint64_t next_character_start(std::string_view text, std::uint64_t at) {
    while (at < text.size() && is_continuation(text[at])) {
        ++at;
    }
    return std::min<std::uint64_t>(at, text.size());
}

Result<Tokens> encode_tail(const tokenizer::Tokenizer& tokenizer,
                           std::string_view text,
                           std::int32_t tokens_max) {
    if (tokens_max <= 0 || text.empty()) return Tokens{};
    const auto room = static_cast<std::uint64_t>(tokens_max);
    const std::uint64_t window = room * kBytesPerTokenMax;
    std::uint64_t from =
        text.size() > window ? character_start(text, text.size() - window) : std::uint64_t{0};
    HEARTH_TRY(Tokens tokens, tokenizer.encode(text.substr(from)));
    if (from == 0 && tokens.size() <= room) return tokens;
    if (tokens.size() > room) {
        const std::span<const std::int32_t> kept(tokens.end() - tokens_max, tokens.end());
        from = text.size() - std::min(text.size(), bytes_of(tokenizer, kept));
    }
    const std::uint64_t quantum = std::bit_floor(room);
    for (std::uint64_t anchor = next_anchor(text, from, quantum); anchor < text.size();
         anchor = next_anchor(text, anchor + 1, quantum)) {
        HEARTH_TRY(tokens, tokenizer.encode(text.substr(anchor)));
        if (tokens.size() <= room) return tokens;
    }
    // A budget smaller than the distance of two anchors: the window slides.
    HEARTH_TRY(tokens, tokenizer.encode(text.substr(from)));
    if (tokens.size() > room) tokens.erase(tokens.begin(), tokens.end() - tokens_max);
    return tokens;
}

Result<Tokens> encode_head(const tokenizer::Tokenizer& tokenizer,
                           std::string_view text,
                           std::int32_t tokens_max) {
    if (tokens_max <= 0 || text.empty()) return Tokens{};
    const auto room = static_cast<std::uint64_t>(tokens_max);
    const std::uint64_t window = character_start(text, room * kBytesPerTokenMax);
    HEARTH_TRY(Tokens tokens, tokenizer.encode(text.substr(0, window)));
    if (window == text.size() && tokens.size() <= room) return tokens;
    if (tokens.size() > room) tokens.resize(room);
    // Back to the last line that is whole, unless that would lose more than half.
    const auto has_newline = [&](std::int32_t token) {
        return tokenizer.token_bytes(token).find('\n') != std::string_view::npos;
    };
    const auto last = std::find_if(tokens.rbegin(), tokens.rend(), has_newline);
    if (last != tokens.rend() && tokens.rend() - last > static_cast<std::ptrdiff_t>(room / 2)) {
        tokens.erase(last.base(), tokens.end());
    }
    return tokens;
}

std::string without_carriage_returns(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
        out += text[i];
    }
    return out;
}

}  // namespace hearth::assist
