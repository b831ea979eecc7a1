#include "training/samples/explain_pairs.h"

#include <string>

#include <catch2/catch.hpp>

namespace {

using namespace hearth::training;

TEST_CASE("the first sentence of a comment is found under its marks", "[training][explain]") {
    const std::pair<const char*, const char*> cases[] = {
        {"// Sum adds all the values. It is slow.", "Sum adds all the values."},
        {"/// Adds all the values\n/// of the list.\n///\n/// # Panics",
         "Adds all the values of the list."},
        {"/**\n * Adds {@code left} to the <b>right</b> value.\n * @return x\n */",
         "Adds left to the right value."},
        {"/* Adds all of the values */", "Adds all of the values."},
        {"Adds ``left`` to the right value, e.g. for sums. More.",
         "Adds `left` to the right value, e.g. for sums."},
        {"// Too short.", ""},
        {"// TODO(x): add all the values here", ""},
        {"// ------------------------------------", ""},
        {"// See https://example.org for the values of it.", ""},
        {"// a = b + c; d = e[f] * (g - h); i(); j++;", ""},
        {"", ""},
    };
    for (const auto& [comment, sentence] : cases) {
        INFO(comment);
        CHECK(first_sentence(comment) == sentence);
    }
}

struct Case {
    const char* language;
    const char* text;
    const char* code;  ///< nullptr: no pair
};

TEST_CASE("functions come with their comment taken out", "[training][explain]") {
    const Case cases[] = {
        {"python",
         "class A:\n    def add(self, x):\n        \"\"\"Adds a value to the list.\n\n        "
         "More.\n"
         "        \"\"\"\n        self.x = x\n\n        return x\n\n    y = 1\n",
         "    def add(self, x):\n        self.x = x\n\n        return x\n"},
        {"python",
         "def add(\n    x,\n):\n    '''Adds a value to the list.'''\n    return x\n",
         "def add(\n    x,\n):\n    return x\n"},
        {"python", "def add(x):\n    \"\"\"Adds a value to the list.\"\"\"\n", nullptr},
        {"python", "def add(x):\n    return \"\"\"Adds a value to the list.\"\"\"\n", nullptr},
        {"python",
         "def test_add(x):\n    \"\"\"Adds a value to the list.\"\"\"\n    return x\n",
         nullptr},
        {"go",
         "// Add adds a value to it.\nfunc Add(x int) {\n\tdo(x)\n}\n",
         "func Add(x int) {\n\tdo(x)\n}\n"},
        {"go", "// Add adds a value to it.\n\nfunc Add(x int) {\n\tdo(x)\n}\n", nullptr},
        {"go", "// Add holds a value of it.\ntype Add struct {\n\tx int\n}\n", nullptr},
        {"rust",
         "    /// Adds a value to the list.\n    #[inline]\n    pub fn add(x: u8) {\n        "
         "f(x);\n    }\n",
         "    pub fn add(x: u8) {\n        f(x);\n    }\n"},
        {"rust", "/// Holds a value of the list.\npub struct A {\n    x: u8,\n}\n", nullptr},
        {"java",
         "/**\n * Adds a value to the list.\n */\n@Override\npublic int add(int x) {\n  return "
         "x;\n}\n",
         "public int add(int x) {\n  return x;\n}\n"},
        {"java",
         "/** Holds a value of the list. */\npublic class A extends B(C) {\n  int x;\n}\n",
         nullptr},
        {"cpp",
         "// Adds a value to the list.\nint add(int x) {\n  return x;\n}\n",
         "int add(int x) {\n  return x;\n}\n"},
        {"cpp",
         "// Adds a value to the list.\nint add(int x);\nint b() {\n  return 1;\n}\n",
         nullptr},
        {"cpp",
         "void f() {\n  // Look at each value of the list.\n  if (x) {\n    y();\n  }\n}\n",
         nullptr},
        {"cpp", "// Adds a value to the list.\nint add(int x) {\n  return x;\n", nullptr},
        {"c", "/* Adds a value to the list.", nullptr},
    };
    for (const auto& [language, text, code] : cases) {
        INFO(language << ": " << text);
        const auto pairs =
            find_explain_pairs({.language = language, .package = "p", .path = "a", .text = text});
        REQUIRE(pairs.size() == (code == nullptr ? 0 : 1));
        if (code != nullptr) {
            CHECK(pairs[0].code == code);
            CHECK(pairs[0].sentence.ends_with('.'));
        }
    }
}

}  // namespace
