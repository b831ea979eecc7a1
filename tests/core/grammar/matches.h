// Whether a text follows a grammar.
#pragma once

#include <memory>
#include <string_view>
#include <utility>

#include "core/grammar/recogniser.h"

namespace hearth::test {

inline bool matches(const std::shared_ptr<const grammar::Grammar>& grammar, std::string_view text) {
    grammar::Recogniser recogniser(grammar);
    grammar::Recogniser::State state = recogniser.start();
    for (const char byte : text) {
        state = recogniser.next(state, static_cast<std::uint8_t>(byte));
        if (state == grammar::Recogniser::kDead) return false;
        if (recogniser.state_count() > 7) state = recogniser.forget_others(state);
    }
    return recogniser.is_complete(state);
}

}  // namespace hearth::test
