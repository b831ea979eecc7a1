#include "core/tokenizer/stream_decoder.h"

#include <string_view>
#include <utility>

#include "core/tokenizer/utf8.h"

namespace hearth::tokenizer {

std::string StreamDecoder::feed(TokenId token) {
    if (tokenizer_.is_special(token)) return {};
    pending_ += tokenizer_.token_bytes(token);
    const std::string_view bytes = pending_;
    std::string text;
    std::size_t at = 0;
    while (at < bytes.size()) {
        const Utf8Character next = first_character(bytes.substr(at));
        if (next.state == Utf8Character::State::unfinished) break;
        text += next.state == Utf8Character::State::whole ? bytes.substr(at, next.size_bytes)
                                                          : kReplacement;
        at += next.size_bytes;
    }
    pending_.erase(0, at);
    return text;
}

std::string StreamDecoder::finish() {
    return std::exchange(pending_, {}).empty() ? std::string() : std::string(kReplacement);
}

}  // namespace hearth::tokenizer
