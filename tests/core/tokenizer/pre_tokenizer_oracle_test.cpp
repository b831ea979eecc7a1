// The scanners against the published expressions on random text, with PCRE2 as the engine. Its \s
// is not quite the Unicode White_Space of those expressions, so that set is written out.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <cstdint>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

#include "core/tokenizer/pre_tokenizer.h"
#include "core/tokenizer/unicode_classes.h"

namespace hearth::tokenizer {
namespace {

const std::string kSpace =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

/// `pattern` with S for the members of \s.
class Expression {
  public:
    explicit Expression(std::string_view pattern) {
        std::string written;
        for (const char c : pattern) {
            written += c == 'S' ? kSpace : std::string(1, c);
        }
        int error = 0;
        PCRE2_SIZE where = 0;
        code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(written.data()),
                                  written.size(),
                                  PCRE2_UTF | PCRE2_UCP,
                                  &error,
                                  &where,
                                  nullptr));
        REQUIRE(code_);
        match_.reset(pcre2_match_data_create_from_pattern(code_.get(), nullptr));
    }

    struct Match {
        std::size_t start, end;
        std::uint32_t group;  ///< the highest that took part
    };
    /// The first match in `text` from `from` on; start is npos where there is none.
    [[nodiscard]] Match find(std::string_view text, std::size_t from) const {
        const int groups = pcre2_match(code_.get(),
                                       reinterpret_cast<PCRE2_SPTR>(text.data()),
                                       text.size(),
                                       from,
                                       PCRE2_NO_UTF_CHECK,
                                       match_.get(),
                                       nullptr);
        if (groups < 0) return {std::string_view::npos, 0, 0};
        const PCRE2_SIZE* const at = pcre2_get_ovector_pointer(match_.get());
        return {at[0], at[1], static_cast<std::uint32_t>(groups - 1)};
    }

  private:
    struct Free {
        void operator()(pcre2_code* code) const { pcre2_code_free(code); }
        void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
    };
    std::unique_ptr<pcre2_code, Free> code_;
    std::unique_ptr<pcre2_match_data, Free> match_;
};

using Pieces = std::vector<std::string>;

/// Each expression cuts the pieces of the one before it into matches and what lies between.
Pieces cut_by(const std::vector<Expression>& expressions, const std::string& text) {
    Pieces pieces;
    if (!text.empty()) pieces.push_back(text);
    for (const Expression& expression : expressions) {
        Pieces finer;
        for (const std::string& piece : pieces) {
            std::size_t at = 0;
            for (;;) {
                const auto match = expression.find(piece, at);
                if (match.start == std::string_view::npos) break;
                if (match.start != at) finer.push_back(piece.substr(at, match.start - at));
                finer.push_back(piece.substr(match.start, match.end - match.start));
                at = match.end;
            }
            if (at != piece.size()) finer.push_back(piece.substr(at));
        }
        pieces = std::move(finer);
    }
    return pieces;
}

std::string random_text(std::mt19937& random) {
    // Characters around the edges of the expressions; assigned since long before Unicode 14.
    static const std::vector<std::string> kParts = {
        "a",      "b",          "L",          "l",      "s",      "T",      "re",     "Ve",
        "M",      "D",          "'",          "'",      "'s",     "1",      "23",     " ",
        " ",      "  ",         "\n",         "\r",     "\t",     "\v",     ".",      ",",
        "(",      ")",          "_",          "=",      "+",      "$",      "<",      "`",
        "é",      "ß",          "ſ",          "İ",      "Ж",      "ا",      "ह",      "ि",
        "中",     "龥",         "一",         "ࠀ",      "가",     "힣",     "ひ",     "，",
        "。",     "「",         "“",          "—",      "Ⅷ",      "½",      "२",      "１",
        "\u0301", "\u200D",     "\u00A0",     "\u3000", "\u2028", "\u0085", "\u1680", "\u2009",
        "€",      "\U0001F600", "\U00020000", "\u0000", "\uFFFD", "\uD7FF", "\uE000"};
    std::string text;
    for (auto i = random() % 14; i > 0; --i) {
        text += kParts[random() % kParts.size()];
    }
    return text;
}

void check_against(PreTokenizer kind, const std::vector<std::string_view>& patterns) {
    std::vector<Expression> expressions;
    for (const std::string_view pattern : patterns) {
        expressions.emplace_back(pattern);
    }
    std::mt19937 random(2024);
    std::vector<std::string_view> pieces;
    for (int i = 0; i < 40000; ++i) {
        const std::string text = random_text(random);
        split(text, kind, pieces);
        INFO(text);
        REQUIRE(Pieces(pieces.begin(), pieces.end()) == cut_by(expressions, text));
    }
}

}  // namespace

TEST_CASE("random text is cut as the published gpt-2 expression cuts it",
          "[tokenizer][pre_tokenizer]") {
    check_against(
        PreTokenizer::gpt2,
        {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^S\p{L}\p{N}]+|[S]+(?![^S])|[S]+)"});
}

TEST_CASE("random text is cut as the published qwen2 expression cuts it",
          "[tokenizer][pre_tokenizer]") {
    check_against(PreTokenizer::qwen2,
                  {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
                   R"(| ?[^S\p{L}\p{N}]+[\r\n]*|[S]*[\r\n]+|[S]+(?![^S])|[S]+)"});
}

TEST_CASE("random text is cut as the published deepseek-coder expressions cut it",
          "[tokenizer][pre_tokenizer]") {
    check_against(PreTokenizer::deepseek_coder,
                  {R"([\r\n])",
                   R"([S]?\p{L}+)",
                   R"([S]?\p{P}+)",
                   R"([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+)",
                   R"(\p{N})"});
}

TEST_CASE("the class table agrees with PCRE2 on every character", "[tokenizer][pre_tokenizer]") {
    std::array<char, 64> version{};
    pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, version.data());
    if (std::string_view(version.data()) != "14.0.0") {
        std::cout << "skipped: this PCRE2 knows Unicode " << version.data() << ", not 14.0.0\n";
        return;
    }
    const Expression classes(R"(^(?:(\p{L})|(\p{N})|(\p{P})|([S])))");
    std::size_t run = 0;
    int wrong_count = 0;
    for (std::uint32_t code = 0x80; code < 0x110000; ++code) {
        while (run + 1 < std::size(kClassRuns) && kClassRuns[run + 1] >> 3 <= code) {
            ++run;
        }
        if (code >= 0xD800 && code < 0xE000) continue;
        std::string text;
        if (code >= 0x10000) {
            text += static_cast<char>(0xF0 | code >> 18);
            text += static_cast<char>(0x80 | (code >> 12 & 0x3F));
        } else if (code >= 0x800) {
            text += static_cast<char>(0xE0 | code >> 12);
        }
        text += static_cast<char>(code >= 0x800 ? 0x80 | (code >> 6 & 0x3F) : 0xC0 | code >> 6);
        text += static_cast<char>(0x80 | (code & 0x3F));
        wrong_count += classes.find(text, 0).group != (kClassRuns[run] & 7) ? 1 : 0;
    }
    CHECK(wrong_count == 0);
}

}  // namespace hearth::tokenizer
