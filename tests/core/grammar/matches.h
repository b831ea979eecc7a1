// Whether texts follow a grammar.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

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

inline void check_matches(const std::string& rules,
                          const std::vector<std::string>& right,
                          const std::vector<std::string>& wrong) {
    const auto grammar = grammar::Grammar::parse(rules);
    INFO(rules << ": " << (grammar ? "" : grammar.error().text));
    REQUIRE(grammar);
    for (const std::string& text : right) {
        INFO(text);
        CHECK(matches(*grammar, text));
    }
    for (const std::string& text : wrong) {
        INFO(text);
        CHECK_FALSE(matches(*grammar, text));
    }
}

}  // namespace hearth::test
