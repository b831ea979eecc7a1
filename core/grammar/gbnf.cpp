// Reads the notation of grammar.h.
#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "core/grammar/grammar_builder.h"

namespace hearth::grammar {
namespace {

constexpr std::uint32_t kCodePointMax = 0x10FFFF;

bool is_name_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/// The first failure sticks and ends the reading.
class GbnfReader {
  public:
    explicit GbnfReader(std::string_view text) : text_(text) {}

    Result<std::shared_ptr<const Grammar>> read() {
        skip_blanks();
        while (at_ < text_.size() && !error_) {
            read_rule();
        }
        if (error_) return fail(*std::move(error_));
        return builder_.finish();
    }

  private:
    void refuse(const std::string& what) {
        if (error_) return;
        const std::string_view before = text_.substr(0, at_);
        const auto line = std::ranges::count(before, '\n') + 1;
        const std::size_t column = at_ - (before.rfind('\n') + 1) + 1;
        error_ = Error{ErrorCode::invalid_argument,
                       "the grammar is not understood at line " + std::to_string(line) +
                           ", column " + std::to_string(column) + ": " + what,
                       "grammar"};
        at_ = text_.size();
    }

    [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    bool take(std::string_view word) {
        if (!text_.substr(at_).starts_with(word)) return false;
        at_ += word.size();
        return true;
    }
    void expect(std::string_view word) {
        if (!take(word)) refuse("expected '" + std::string(word) + "'");
    }

    void skip_blanks() {
        while (at_ < text_.size()) {
            if (text_[at_] == '#') {
                at_ = std::min(text_.find('\n', at_), text_.size());
            } else if (std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) {
                ++at_;
            } else {
                return;
            }
        }
    }

    std::string_view take_name() {
        const std::size_t begin = at_;
        while (is_name_letter(peek())) {
            ++at_;
        }
        return text_.substr(begin, at_ - begin);
    }

    /// Whether a new rule begins here.
    bool is_at_rule() {
        const std::size_t begin = at_;
        const bool has_name = !take_name().empty();
        skip_blanks();
        const bool is_rule = has_name && text_.substr(at_).starts_with("::=");
        at_ = begin;
        return is_rule;
    }

    void read_rule() {
        const std::string name(take_name());
        if (name.empty()) return refuse("expected the name of a rule");
        skip_blanks();
        expect("::=");
        std::vector<Sequence> alternatives = read_alternatives(0);
        if (!error_ && !builder_.define(builder_.rule_named(name), std::move(alternatives))) {
            refuse("the rule \"" + name + "\" is there already");
        }
        if (peek() == ')') refuse("this ')' has no '('");
    }

    std::vector<Sequence> read_alternatives(int depth) {
        if (depth > GrammarLimits::kNestingMax) refuse("brackets in too many brackets");
        std::vector<Sequence> alternatives;
        do {
            alternatives.push_back(read_sequence(depth));
        } while (take("|") && !error_);
        return alternatives;
    }

    Sequence read_sequence(int depth) {
        Sequence sequence;
        for (;;) {
            skip_blanks();
            const char c = peek();
            if (error_ || at_ == text_.size() || c == '|' || c == ')' || is_at_rule()) {
                return sequence;
            }
            Sequence piece = read_piece(depth);
            piece = read_repetition(std::move(piece));
            sequence.insert(sequence.end(), piece.begin(), piece.end());
            if (builder_.is_too_large()) refuse("too many repetitions");
        }
    }

    Sequence read_piece(int depth) {
        if (take("(")) {
            std::vector<Sequence> alternatives = read_alternatives(depth + 1);
            expect(")");
            if (alternatives.size() == 1) return alternatives.front();
            return {{Symbol::Kind::rule, builder_.add_rule(std::move(alternatives))}};
        }
        if (take("\"")) return read_literal();
        if (take("[")) {
            const Symbol one = builder_.character_of(read_class());
            if (builder_.is_never(one)) refuse("a class that holds no character");
            return {one};
        }
        if (take(".")) {
            return {builder_.character_of({{0, '\n' - 1}, {'\n' + 1, kCodePointMax}})};
        }
        const std::string_view name = take_name();
        if (name.empty()) {
            refuse("expected a piece: a name, \"text\", [class], . or (");
            return {};
        }
        return {{Symbol::Kind::rule, builder_.rule_named(name)}};
    }

    Sequence read_literal() {
        Sequence sequence;
        while (!error_ && !take("\"")) {
            if (at_ == text_.size()) refuse("the text has no end: expected '\"'");
            if (!error_) builder_.append_character(sequence, read_character());
        }
        return sequence;
    }

    std::vector<CodePoints> read_class() {
        const bool is_negated = take("^");
        std::vector<CodePoints> ranges;
        while (!error_ && !take("]")) {
            if (at_ == text_.size()) refuse("the class has no end: expected ']'");
            const std::uint32_t first = read_character();
            std::uint32_t last = first;
            if (peek() == '-' && text_.substr(at_, 2) != "-]") {
                ++at_;
                last = read_character();
            }
            if (last < first) refuse("a range that ends before it begins");
            ranges.emplace_back(first, last);
        }
        if (!is_negated) return ranges;
        std::ranges::sort(ranges);
        std::vector<CodePoints> others;
        std::uint32_t next = 0;
        for (const auto& [first, last] : ranges) {
            if (first > next) others.emplace_back(next, first - 1);
            next = std::max(next, last + 1);
        }
        if (next <= kCodePointMax) others.emplace_back(next, kCodePointMax);
        return others;
    }

    /// One character of a text or a class, escapes resolved.
    std::uint32_t read_character() {
        if (take("\\")) return read_escape();
        if (at_ == text_.size()) {
            refuse("the grammar ends inside a text or class");
            return 0;
        }
        const auto lead = static_cast<unsigned char>(peek());
        ++at_;
        if (lead < 0x80) return lead;
        const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
        std::uint32_t code = lead & (0x3FU >> static_cast<unsigned>(more));
        bool is_sound = lead >= 0xC0;
        for (int i = 0; i < more && is_sound; ++i) {
            const auto byte = static_cast<unsigned char>(peek());
            is_sound = (byte & 0xC0U) == 0x80U;
            code = (code << 6U) | (byte & 0x3FU);
            ++at_;
        }
        constexpr std::array<std::uint32_t, 4> kFirstOfLength = {0, 0x80, 0x800, 0x10000};
        if (is_sound && code >= kFirstOfLength[static_cast<std::size_t>(more)] &&
            code <= kCodePointMax) {
            return code;
        }
        refuse("text that is not UTF-8");
        return 0;
    }

    std::uint32_t read_escape() {
        const char letter = peek();
        at_ += letter == '\0' ? 0 : 1;
        switch (letter) {
            case 'n':
                return '\n';
            case 'r':
                return '\r';
            case 't':
                return '\t';
            case 'x':
                return read_hex(2);
            case 'u':
                return read_hex(4);
            case 'U':
                return read_hex(8);
            default:
                if (std::string_view("\\\"[]-^").find(letter) == std::string_view::npos ||
                    letter == '\0') {
                    refuse("an unknown escape");
                }
                return static_cast<unsigned char>(letter);
        }
    }

    std::uint32_t read_hex(int digits) {
        std::uint32_t value = 0;
        for (int i = 0; i < digits; ++i) {
            const std::string_view known = "0123456789abcdef";
            const char letter = peek();
            const std::size_t digit = known.find(
                letter >= 'A' && letter <= 'F' ? static_cast<char>(letter + 32) : letter);
            if (letter == '\0' || digit == std::string_view::npos) {
                refuse("expected " + std::to_string(digits) + " hexadecimal digits");
                return 0;
            }
            value = value * 16 + static_cast<std::uint32_t>(digit);
            ++at_;
        }
        if (value <= kCodePointMax) return value;
        refuse("a code point above U+10FFFF");
        return 0;
    }

    Sequence read_repetition(Sequence piece) {
        for (;;) {
            skip_blanks();
            if (take("*")) {
                piece = builder_.repeat(piece, 0, std::nullopt);
            } else if (take("+")) {
                piece = builder_.repeat(piece, 1, std::nullopt);
            } else if (take("?")) {
                piece = builder_.repeat(piece, 0, 1);
            } else if (take("{")) {
                piece = read_counts(piece);
            } else {
                return piece;
            }
            if (error_) return piece;
        }
    }

    Sequence read_counts(const Sequence& piece) {
        const std::size_t least = read_count();
        std::optional<std::size_t> most = least;
        skip_blanks();
        if (take(",")) {
            skip_blanks();
            most.reset();
            if (peek() != '}') most = read_count();
        }
        skip_blanks();
        expect("}");
        if (most && *most < least) refuse("a repetition whose most is below its least");
        return error_ ? piece : builder_.repeat(piece, least, most);
    }

    std::size_t read_count() {
        skip_blanks();
        std::size_t value = 0;
        const std::size_t begin = at_;
        while (peek() >= '0' && peek() <= '9' && value <= GrammarLimits::kRepeatMax) {
            value = value * 10 + static_cast<std::size_t>(peek() - '0');
            ++at_;
        }
        if (at_ == begin) refuse("expected a number");
        if (value > GrammarLimits::kRepeatMax) {
            refuse("at most " + std::to_string(GrammarLimits::kRepeatMax) + " repetitions");
        }
        return value;
    }

    const std::string_view text_;
    std::size_t at_ = 0;
    GrammarBuilder builder_;
    std::optional<Error> error_;
};

}  // namespace

Result<std::shared_ptr<const Grammar>> Grammar::parse(std::string_view text) {
    if (text.size() > GrammarLimits::kTextBytesMax) {
        return fail(ErrorCode::too_large,
                    "the grammar has " + std::to_string(text.size()) + " bytes; at most " +
                        std::to_string(GrammarLimits::kTextBytesMax) + " are read",
                    "grammar");
    }
    return GbnfReader(text).read();
}

}  // namespace hearth::grammar
