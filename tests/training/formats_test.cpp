#include "training/samples/formats.h"

#include <string>

#include <catch2/catch.hpp>

namespace {

using namespace hearth::training;

/// A byte-level tokenizer without merges: a token per byte, so that lengths can be counted by hand.
class FormatsFixture {
  public:
    FormatsFixture()
        : file_(*TokenizerFile::make("qwen2", {}, hearth_special_names())),
          encoder_(file_),
          formats_(*SampleFormats::make(encoder_)) {}

    std::string text(const Tokens& tokens) const {
        std::string text;
        for (const TokenId token : tokens) {
            text += file_.token_bytes(token);
        }
        return text;
    }

  protected:
    TokenizerFile file_;
    Encoder encoder_;
    SampleFormats formats_;
};

TEST_CASE_METHOD(FormatsFixture,
                 "every sample is rendered as the README says",
                 "[training][formats]") {
    const Tokens head = formats_.path_line("src/a.c");
    CHECK(text(head) == "<|file_sep|>src/a.c\n");
    const InfillParts parts{.prefix = "int ", .middle = "a", .suffix = ";\n"};
    CHECK(text(formats_.infill(head, parts, InfillOrder::prefix_first, 512)) ==
          "<|file_sep|>src/a.c\n<|fim_prefix|>int <|fim_suffix|>;\n<|fim_middle|>a<|endoftext|>");
    CHECK(text(formats_.infill(head, parts, InfillOrder::suffix_first, 512)) ==
          "<|file_sep|>src/a.c\n<|fim_suffix|>;\n<|fim_prefix|><|fim_middle|>int a<|endoftext|>");
    const InfillParts two_lines{.prefix = "b;\n int ", .middle = "a", .suffix = ";\n"};
    CHECK(text(formats_.infill({}, two_lines, InfillOrder::suffix_first, 512)) ==
          "<|fim_suffix|>;\n<|fim_prefix|>b;\n<|fim_middle|> int a<|endoftext|>");
    CHECK(text(formats_.infill({}, two_lines, InfillOrder::suffix_first_unmarked, 512)) ==
          "<|fim_suffix|>;\n<|fim_prefix|>b;\n int a<|endoftext|>");
    CHECK(text(formats_.repository_name("zlib")) == "<|repo_name|>zlib");
    CHECK(text(formats_.neighbour("b.h", "int b;\n")) == "<|file_sep|>b.h\nint b;\n");
    CHECK(text(formats_.continuation(head, "x;\n", true, 512)) ==
          "<|file_sep|>src/a.c\nx;\n<|endoftext|>");
    CHECK(text(formats_.continuation(head, "x;\n", false, 512)) == "<|file_sep|>src/a.c\nx;\n");
    CHECK(text(formats_.explain("a.py", "def f():\n", "Does it.", 512)) ==
          "<|explain|>a.py\ndef f():\n<|fim_middle|>Does it.<|endoftext|>");
    CHECK(text(formats_.fix({.path = "a.c",
                             .before = "{\n",
                             .bad_line = "  a = 1",
                             .after = "}\n",
                             .good_line = "  a = 1;"},
                            512)) ==
          "<|fix|>a.c\n{\n<|bug|>  a = 1\n}\n<|fim_middle|>  a = 1;<|endoftext|>");
}

TEST_CASE_METHOD(FormatsFixture,
                 "a key typed appends to a suffix-first prompt",
                 "[training][formats]") {
    const Tokens head = formats_.path_line("a.c");
    const auto prompt = [&](std::string_view prefix) {
        Tokens tokens = formats_.infill(head,
                                        {.prefix = prefix, .middle = "", .suffix = "rest"},
                                        InfillOrder::suffix_first,
                                        512);
        tokens.pop_back();  // the end
        return tokens;
    };
    const Tokens shorter = prompt("retur");
    const Tokens longer = prompt("return");
    CHECK(longer.size() == shorter.size() + 1);
    CHECK(std::equal(shorter.begin(), shorter.end(), longer.begin()));
}

TEST_CASE_METHOD(FormatsFixture,
                 "the suffix's end goes first, then the prefix's start",
                 "[training][formats]") {
    const Tokens head = formats_.path_line("a");  // 3 tokens
    const InfillParts parts{.prefix = "12345", .middle = "mm", .suffix = "67890"};
    const struct {
        std::size_t tokens_max;
        const char* text;
    } cases[] = {
        {19, "<|file_sep|>a\n<|fim_prefix|>12345<|fim_suffix|>67890<|fim_middle|>mm<|endoftext|>"},
        {18, "<|file_sep|>a\n<|fim_prefix|>12345<|fim_suffix|>6789<|fim_middle|>mm<|endoftext|>"},
        {14, "<|file_sep|>a\n<|fim_prefix|>12345<|fim_suffix|><|fim_middle|>mm<|endoftext|>"},
        {12, "<|file_sep|>a\n<|fim_prefix|>345<|fim_suffix|><|fim_middle|>mm<|endoftext|>"},
        {9, "<|file_sep|>a\n<|fim_prefix|><|fim_suffix|><|fim_middle|>mm<|endoftext|>"},
        {8, ""},
    };
    for (const auto& [tokens_max, expected] : cases) {
        INFO(tokens_max);
        const Tokens tokens = formats_.infill(head, parts, InfillOrder::prefix_first, tokens_max);
        CHECK(text(tokens) == expected);
        CHECK(tokens.size() <= tokens_max);
    }
}

TEST_CASE_METHOD(FormatsFixture,
                 "explain and fix samples keep to their length",
                 "[training][formats]") {
    CHECK(text(formats_.explain("a", "12345", "Yes.", 12)) ==
          "<|explain|>a\n123<|fim_middle|>Yes.<|endoftext|>");
    CHECK(formats_.explain("a", "12345", "Yes.", 5).empty());
    const FixParts parts{.path = "a", .before = "", .bad_line = "b", .after = "", .good_line = "c"};
    CHECK(formats_.fix(parts, 9).size() == 9);
    CHECK(formats_.fix(parts, 8).empty());
    CHECK(formats_.continuation(formats_.path_line("a"), "123", true, 5).size() == 5);
}

TEST_CASE("a tokenizer without a special token is refused by the token's name",
          "[training][formats]") {
    const TokenizerFile file = *TokenizerFile::make("qwen2", {}, {"<|endoftext|>"});
    Encoder encoder(file);
    const auto formats = SampleFormats::make(encoder);
    REQUIRE_FALSE(formats);
    CHECK(formats.error().text.find("<|fim_prefix|>") != std::string::npos);
}

}  // namespace
