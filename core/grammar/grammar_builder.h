// Collects the rules of a grammar. Private to core/grammar.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/grammar/grammar.h"

namespace hearth::grammar {

using Sequence = std::vector<Symbol>;

/// Code points from first to last.
using CodePoints = std::pair<std::uint32_t, std::uint32_t>;

class GrammarBuilder {
  public:
    GrammarBuilder() : grammar_(new Grammar) { rule_named("root"); }

    /// The rule of that name, defined or not.
    std::int32_t rule_named(std::string_view name);
    std::int32_t add_rule(std::vector<Sequence> alternatives);
    /// False where it is defined already.
    bool define(std::int32_t rule, std::vector<Sequence> alternatives);

    /// The bytes of a code point, in a row.
    void append_character(Sequence& sequence, std::uint32_t code_point);
    /// One character of the ranges.
    Symbol character_of(const std::vector<CodePoints>& ranges);
    /// Whether nothing is one of its characters.
    [[nodiscard]] bool is_never(const Symbol& symbol) const {
        return symbol.kind == Symbol::Kind::bytes && grammar_->set(symbol.index).none();
    }
    /// `piece` from `least` to `most` times; no most: any number.
    Sequence repeat(const Sequence& piece, std::size_t least, std::optional<std::size_t> most);

    [[nodiscard]] bool is_too_large() const { return symbol_count_ > GrammarLimits::kSymbolsMax; }
    /// Errors: those of Grammar::parse that concern whole rules.
    Result<std::shared_ptr<const Grammar>> finish();

  private:
    Symbol byte_of(const ByteSet& set);
    [[nodiscard]] std::vector<bool> find_nullable() const;
    [[nodiscard]] std::optional<std::size_t> find_left_recursion() const;

    std::shared_ptr<Grammar> grammar_;
    std::vector<std::string> names_;  ///< by rule; empty: made by us
    std::unordered_map<std::string, std::int32_t> by_name_;
    std::vector<std::optional<std::vector<Sequence>>> rules_;
    std::size_t symbol_count_ = 0;
};

}  // namespace hearth::grammar
