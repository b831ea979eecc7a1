#include "core/tokenizer/pre_tokenizer.h"

#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

namespace hearth::tokenizer {
namespace {

/// `cut` is the text with a | between its pieces.
void check_pieces(PreTokenizer kind, std::string_view cut) {
    std::string text;
    std::vector<std::string> expected(cut.empty() ? 0 : 1);
    for (const char c : cut) {
        if (c == '|') {
            expected.emplace_back();
        } else {
            text += c;
            expected.back() += c;
        }
    }
    std::vector<std::string_view> pieces = {"left over"};
    split(text, kind, pieces);
    INFO(cut);
    CHECK(std::vector<std::string>(pieces.begin(), pieces.end()) == expected);
}

}  // namespace

TEST_CASE("gpt-2 cuts as its expression does", "[tokenizer][pre_tokenizer]") {
    const char* const cuts[] = {
        "",
        "a",
        " ",
        "int| main|();",
        "don|'t| DON|'|T| it|'ll| we|'re|'ve|'d|'m|'s",
        "'|lx| '|s",
        "x| =| 1234|;",
        "a|  | b",
        "a|\n|\n|b",
        "a|\n\n",
        "  \t|\t|x",
        "a|\t|b",
        "café| 中文|。",
        "a|\u00A0|b",     // a no-break space is a space, but not ' '
        "a|\xFF\xC3|b",   // broken bytes are symbols
        "\U0001F600| a",  // so is an emoji
    };
    for (const char* const cut : cuts) {
        check_pieces(PreTokenizer::gpt2, cut);
    }
}

TEST_CASE("qwen2 cuts as its expression does", "[tokenizer][pre_tokenizer]") {
    const char* const cuts[] = {
        "",
        "int| main|()| {\n|   | return| |4|2|;\n|}\n",
        "don|'t| DON|'T| I|'LL|'Ve",
        "it|'ſ|x",  // the long s folds to s
        "'lx",
        "_a| __|b",
        "foo|(x|).|y",
        "a|\n\n\n|   | b",
        "a| \n \n| | b",
        "x|   ",
        "a|\n|\tx",
        "a|\r\n|b",
        "Ａ|１|Ⅷ|①",
        "a|\u00A0b",
        "e|\u0301a",          // a combining accent is no letter
        "\xFF\x61|\xE4\xB8",  // broken bytes lead a word like any symbol
    };
    for (const char* const cut : cuts) {
        check_pieces(PreTokenizer::qwen2, cut);
    }
}

TEST_CASE("deepseek-coder cuts by five expressions in turn", "[tokenizer][pre_tokenizer]") {
    const char* const cuts[] = {
        "",
        "int| x|1| = |4|2|;|\n",
        "a| | ,| b",
        "a|\n|\n| | b",
        "\t|\tx",
        "don|'|t",
        "a|+=|b",    // + and = are symbols, no punctuation
        "f|(&|x|)",  // & is punctuation
        " |여기|a",
        "中文|，|好",
        "Ⅷ|Ⅷ",
        "“|a|”",
        "x|=|\u3000|y",
        "१|२",
        "\xFF\xC3|a",
    };
    for (const char* const cut : cuts) {
        check_pieces(PreTokenizer::deepseek_coder, cut);
    }
}

TEST_CASE("a pre-tokenizer is found by the names that files use", "[tokenizer][pre_tokenizer]") {
    CHECK(parse_pre_tokenizer("gpt-2") == PreTokenizer::gpt2);
    CHECK(parse_pre_tokenizer("qwen2") == PreTokenizer::qwen2);
    CHECK(parse_pre_tokenizer("deepseek-r1-qwen") == PreTokenizer::qwen2);
    CHECK(parse_pre_tokenizer("deepseek-coder") == PreTokenizer::deepseek_coder);
    for (const char* const name : {"", "default", "llama-bpe", "qwen", "Qwen2"}) {
        CHECK(!parse_pre_tokenizer(name));
    }
}

}  // namespace hearth::tokenizer
