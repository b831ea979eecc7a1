#include "core/engine/prompt_lookup.h"

#include <algorithm>

namespace hearth::engine {

std::span<const std::int32_t> PromptLookup::guess(std::span<const std::int32_t> tokens,
                                                  std::size_t tokens_max) const {
    tokens = tokens.last(std::min(tokens.size(), kReachMax));
    const std::size_t count = std::min(tokens_max, guess_max_);
    if (count == 0 || tokens.size() <= match_min_ || match_min_ > kMatchMax) return {};
    std::size_t best_size = match_min_ - 1;
    std::size_t best_end = 0;
    // An earlier run ends with the last token; most places are passed by one comparison.
    for (std::size_t end = tokens.size() - 1; end >= match_min_; --end) {
        if (tokens[end - 1] != tokens.back()) continue;
        const std::size_t longest = std::min(end, kMatchMax);
        std::size_t size = 1;
        while (size < longest && tokens[end - 1 - size] == tokens[tokens.size() - 1 - size]) {
            ++size;
        }
        if (size <= best_size) continue;
        best_size = size;
        best_end = end;
        if (size == kMatchMax) break;
    }
    if (best_end == 0) return {};
    return tokens.subspan(best_end, std::min(count, tokens.size() - best_end));
}

void PromptLookup::note(std::size_t tried, std::size_t right) {
    // Several tokens of a mixture of experts read more weights than one: a guess of which less than
    // half is right has cost more than it gave.
    const bool has_won = 2 * right >= tried;
    match_min_ = has_won ? std::max(kMatchMin, match_min_ / 2) : match_min_ * 2;
    guess_max_ = std::clamp(right == tried ? guess_max_ * 2 : right + 1, kGuessMin, kGuessMax);
}

}  // namespace hearth::engine
