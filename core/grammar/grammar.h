// The door of core/grammar: what an answer may look like, as rules over bytes. Public headers:
// grammar.h, json_schema.h, grammar_guide.h.
//
// The notation (GBNF):
//   root ::= greeting ("," [ ]? name){1,3}      rules by name, `root` is the whole; spread over
//   greeting ::= "hello" | "good \"day\""       lines as one likes
//   name ::= [A-Z] [^\x00-\x1F,]*               classes of characters; . is any but a line feed
// Behind a piece: * any number, + at least one, ? at most one, {3}, {3,} and {3,9}. # begins a
// comment. Escapes: \n \r \t \\ \" \[ \] \- \^ \xHH \uHHHH \UHHHHHHHH.
#pragma once

#include <bitset>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace hearth::grammar {

using ByteSet = std::bitset<256>;

struct GrammarLimits {
    static constexpr std::size_t kTextBytesMax = 1U << 20;
    static constexpr std::size_t kSymbolsMax = 1U << 18;  ///< of all rules, repetitions written out
    static constexpr std::size_t kRepeatMax = 4096;
    static constexpr int kNestingMax = 100;
};

/// One place of a rule: a byte of a set, another rule, or the rule's end.
struct Symbol {
    enum class Kind : std::uint8_t { end, bytes, rule };
    Kind kind = Kind::end;
    std::int32_t index = 0;  ///< of the set or the rule
};

/// Thread: any; fixed.
class Grammar {
  public:
    /// Errors: invalid_argument, naming line and column, or the rule: broken notation, a rule that
    /// is not there, one that begins with itself; too_large (GrammarLimits).
    static Result<std::shared_ptr<const Grammar>> parse(std::string_view text);

    /// All alternatives of all rules in a row, each closed by an end.
    [[nodiscard]] std::span<const Symbol> symbols() const { return symbols_; }
    [[nodiscard]] const ByteSet& set(std::int32_t index) const {
        return sets_[static_cast<std::size_t>(index)];
    }
    /// Where the alternatives of a rule begin in symbols(). Rule 0 is the root.
    [[nodiscard]] std::span<const std::int32_t> alternatives(std::int32_t rule) const {
        return alternatives_[static_cast<std::size_t>(rule)];
    }

  private:
    friend class GrammarBuilder;
    Grammar() = default;

    std::vector<Symbol> symbols_;
    std::vector<ByteSet> sets_;
    std::vector<std::vector<std::int32_t>> alternatives_;
};

}  // namespace hearth::grammar
