#include "core/grammar/grammar_builder.h"

#include <algorithm>
#include <array>

namespace hearth::grammar {
namespace {

using Kind = Symbol::Kind;

constexpr std::uint32_t kContinuationBits = 6;
/// The last code points that take one, two, three and four bytes.
constexpr std::array<std::uint32_t, 4> kLastOfLength = {0x7F, 0x7FF, 0xFFFF, 0x10FFFF};
constexpr CodePoints kSurrogates = {0xD800, 0xDFFF};

std::vector<std::uint8_t> to_utf8(std::uint32_t code_point) {
    const auto length = static_cast<std::size_t>(
        std::ranges::lower_bound(kLastOfLength, code_point) - kLastOfLength.begin() + 1);
    std::vector<std::uint8_t> bytes(length);
    for (std::size_t i = length; i-- > 1; code_point >>= kContinuationBits) {
        bytes[i] = static_cast<std::uint8_t>(0x80U | (code_point & 0x3FU));
    }
    constexpr std::array<std::uint32_t, 4> kLead = {0x00, 0xC0, 0xE0, 0xF0};
    bytes[0] = static_cast<std::uint8_t>(kLead[length - 1] | code_point);
    return bytes;
}

using ByteRange = std::pair<std::uint8_t, std::uint8_t>;

/// Cuts a range of code points into ranges whose encodings have one length and in which each byte
/// runs through a range of its own.
void split(CodePoints range, std::vector<std::vector<ByteRange>>& out) {
    const std::uint32_t first = range.first;
    const std::uint32_t last = range.second;
    const auto cut_behind = [&](std::uint32_t at) {
        split({first, at}, out);
        split({at + 1, last}, out);
    };
    if (first > last) return;
    if (first <= kSurrogates.second && last >= kSurrogates.first) {
        if (first < kSurrogates.first) split({first, kSurrogates.first - 1}, out);
        if (last > kSurrogates.second) split({kSurrogates.second + 1, last}, out);
        return;
    }
    for (const std::uint32_t end : kLastOfLength) {
        if (first <= end && end < last) return cut_behind(end);
    }
    if (last > kLastOfLength[0]) {
        for (std::uint32_t bits = kContinuationBits; bits < 4 * kContinuationBits;
             bits += kContinuationBits) {
            const std::uint32_t mask = (1U << bits) - 1;
            if ((first & ~mask) == (last & ~mask)) continue;
            if ((first & mask) != 0) return cut_behind(first | mask);
            if ((last & mask) != mask) return cut_behind((last & ~mask) - 1);
        }
    }
    const auto low = to_utf8(first);
    const auto high = to_utf8(last);
    std::vector<ByteRange> bytes;
    for (std::size_t i = 0; i < low.size(); ++i) {
        bytes.emplace_back(low[i], high[i]);
    }
    out.push_back(std::move(bytes));
}

ByteSet set_of(ByteRange range) {
    ByteSet set;
    for (std::size_t byte = range.first; byte <= range.second; ++byte) {
        set.set(byte);
    }
    return set;
}

}  // namespace

std::int32_t GrammarBuilder::rule_named(std::string_view name) {
    const auto next = static_cast<std::int32_t>(names_.size());
    if (!name.empty()) {
        const auto [found, is_new] = by_name_.try_emplace(std::string(name), next);
        if (!is_new) return found->second;
    }
    names_.emplace_back(name);
    rules_.emplace_back();
    return next;
}

bool GrammarBuilder::define(std::int32_t rule, std::vector<Sequence> alternatives) {
    auto& own = rules_[static_cast<std::size_t>(rule)];
    if (own) return false;
    for (const Sequence& sequence : alternatives) {
        symbol_count_ += sequence.size() + 1;
    }
    own = std::move(alternatives);
    return true;
}

std::int32_t GrammarBuilder::add_rule(std::vector<Sequence> alternatives) {
    const std::int32_t rule = rule_named({});
    define(rule, std::move(alternatives));
    return rule;
}

Symbol GrammarBuilder::byte_of(const ByteSet& set) {
    auto& sets = grammar_->sets_;
    const auto found = std::ranges::find(sets, set);
    const auto index = static_cast<std::int32_t>(found - sets.begin());
    if (found == sets.end()) sets.push_back(set);
    return {Kind::bytes, index};
}

void GrammarBuilder::append_character(Sequence& sequence, std::uint32_t code_point) {
    for (const std::uint8_t byte : to_utf8(code_point)) {
        sequence.push_back(byte_of(set_of({byte, byte})));
    }
}

Symbol GrammarBuilder::character_of(const std::vector<CodePoints>& ranges) {
    std::vector<std::vector<ByteRange>> encodings;
    for (const CodePoints& range : ranges) {
        split(range, encodings);
    }
    ByteSet single;
    std::vector<Sequence> alternatives;
    for (const auto& encoding : encodings) {
        if (encoding.size() == 1) {
            single |= set_of(encoding.front());
            continue;
        }
        Sequence& bytes = alternatives.emplace_back();
        for (const ByteRange& range : encoding) {
            bytes.push_back(byte_of(set_of(range)));
        }
    }
    if (alternatives.empty()) return byte_of(single);
    if (single.any()) alternatives.push_back({byte_of(single)});
    return {Kind::rule, add_rule(std::move(alternatives))};
}

Sequence GrammarBuilder::repeat(const Sequence& piece,
                                std::size_t least,
                                std::optional<std::size_t> most) {
    const Symbol one = piece.size() == 1 ? piece.front() : Symbol{Kind::rule, add_rule({piece})};
    Sequence sequence(least, one);
    if (!most) {
        const std::int32_t any = rule_named({});
        define(any, {{one, {Kind::rule, any}}, {}});
        sequence.push_back({Kind::rule, any});
        return sequence;
    }
    // The last one first: each may be followed by one less.
    std::optional<Symbol> rest;
    for (std::size_t i = least; i < *most && !is_too_large(); ++i) {
        Sequence more = {one};
        if (rest) more.push_back(*rest);
        rest = Symbol{Kind::rule, add_rule({std::move(more), {}})};
    }
    if (rest) sequence.push_back(*rest);
    return sequence;
}

/// Rules that may be nothing at all.
std::vector<bool> GrammarBuilder::find_nullable() const {
    std::vector<bool> nullable(rules_.size());
    for (bool has_changed = true; has_changed;) {
        has_changed = false;
        for (std::size_t rule = 0; rule < rules_.size(); ++rule) {
            const auto is_empty = [&](const Sequence& sequence) {
                return std::ranges::all_of(sequence, [&](const Symbol& symbol) {
                    return symbol.kind == Kind::rule &&
                           nullable[static_cast<std::size_t>(symbol.index)];
                });
            };
            if (nullable[rule] || std::ranges::none_of(*rules_[rule], is_empty)) continue;
            nullable[rule] = true;
            has_changed = true;
        }
    }
    return nullable;
}

/// A rule that can begin with itself: what follows could never be decided.
std::optional<std::size_t> GrammarBuilder::find_left_recursion() const {
    const std::vector<bool> nullable = find_nullable();
    std::vector<std::vector<std::size_t>> first(rules_.size());
    for (std::size_t rule = 0; rule < rules_.size(); ++rule) {
        for (const Sequence& sequence : *rules_[rule]) {
            for (const Symbol& symbol : sequence) {
                if (symbol.kind != Kind::rule) break;
                first[rule].push_back(static_cast<std::size_t>(symbol.index));
                if (!nullable[first[rule].back()]) break;
            }
        }
    }
    enum class Mark : std::uint8_t { fresh, open, done };
    std::vector<Mark> marks(rules_.size());
    for (std::size_t start = 0; start < rules_.size(); ++start) {
        std::vector<std::pair<std::size_t, std::size_t>> path;  // rule, and how many were looked at
        if (marks[start] == Mark::fresh) path.emplace_back(start, 0);
        while (!path.empty()) {
            auto& [rule, looked] = path.back();
            marks[rule] = Mark::open;
            if (looked == first[rule].size()) {
                marks[rule] = Mark::done;
                path.pop_back();
                continue;
            }
            const std::size_t next = first[rule][looked++];
            if (marks[next] == Mark::open) return next;
            if (marks[next] == Mark::fresh) path.emplace_back(next, 0);
        }
    }
    return std::nullopt;
}

Result<std::shared_ptr<const Grammar>> GrammarBuilder::finish() {
    const auto refuse = [](std::string text) {
        return fail(ErrorCode::invalid_argument, std::move(text), "grammar");
    };
    for (std::size_t rule = 0; rule < rules_.size(); ++rule) {
        if (!rules_[rule]) return refuse("the grammar has no rule \"" + names_[rule] + "\"");
    }
    if (is_too_large()) {
        return fail(ErrorCode::too_large,
                    "the grammar has more than " + std::to_string(GrammarLimits::kSymbolsMax) +
                        " symbols with its repetitions written out; repeat less",
                    "grammar");
    }
    if (const auto rule = find_left_recursion()) {
        const std::string& name = names_[*rule];
        return refuse(name.empty()
                          ? "the grammar repeats something that may be empty; make it non-empty"
                          : "the rule \"" + name +
                                "\" can begin with itself; let it begin with something else");
    }
    for (const auto& rule : rules_) {
        auto& begins = grammar_->alternatives_.emplace_back();
        for (const Sequence& sequence : *rule) {
            begins.push_back(static_cast<std::int32_t>(grammar_->symbols_.size()));
            grammar_->symbols_.insert(grammar_->symbols_.end(), sequence.begin(), sequence.end());
            grammar_->symbols_.emplace_back();
        }
    }
    return std::shared_ptr<const Grammar>(std::move(grammar_));
}

}  // namespace hearth::grammar
