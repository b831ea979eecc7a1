#include "plugins/explain/block.h"

#include <string>

#include <catch2/catch.hpp>

#include "tests/support/marked_text.h"

namespace hearth::explain {
namespace {

/// The text of the block around the mark.
std::string block_at(const std::string& source, std::size_t lines_max = 60) {
    const test::MarkedText text = test::marked(source);
    const sdk::Lines lines(text.text);
    const Block block = enclosing_block(lines, lines.line_at(text.cursor_byte), lines_max);
    return std::string(lines.slice(block.first, block.last));
}

TEST_CASE("the block of a place is its function", "[plugins][explain]") {
    struct Case {
        const char* source;
        const char* block;
    };
    const Case cases[] = {
        // From the body, deep inside, the head and the end.
        {"int a;\nint f() {\n    ret^urn 1;\n}\nint b;\n", "int f() {\n    return 1;\n}\n"},
        {"int f() {\n    if (a) {\n        b^();\n    }\n}\n",
         "int f() {\n    if (a) {\n        b();\n    }\n}\n"},
        {"int f^() {\n    x();\n}\nint g() {\n}\n", "int f() {\n    x();\n}\n"},
        {"int f() {\n    x();\n^}\nint g() {\n}\n", "int f() {\n    x();\n}\n"},
        // A bracket on a line of its own.
        {"int f()\n{\n    x^();\n}\n", "int f()\n{\n    x();\n}\n"},
        {"int f^()\n{\n    x();\n}\n", "int f()\n{\n    x();\n}\n"},
        // A signature over several lines; an else; a directive at the margin.
        {"int f(int a,\n      int b) {\n    x^();\n}\n",
         "int f(int a,\n      int b) {\n    x();\n}\n"},
        {"void f() {\n    if (a) {\n        b();\n    } else {\n        c^();\n    }\n    "
         "d();\n}\n",
         "void f() {\n    if (a) {\n        b();\n    } else {\n        c();\n    }\n    "
         "d();\n}\n"},
        {"void f() {\n#if X\n    x^();\n#endif\n}\n", "void f() {\n#if X\n    x();\n#endif\n}\n"},
        // A method, not its class; tabs; Python.
        {"class A {\n  public:\n    int f() {\n        x^();\n    }\n};\n",
         "    int f() {\n        x();\n    }\n"},
        {"public class A {\n\tpublic int f() {\n\t\tx^();\n\t}\n}\n",
         "\tpublic int f() {\n\t\tx();\n\t}\n"},
        {"class A:\n    def f(self):\n        return ^1\n\n    def g(self):\n        pass\n",
         "    def f(self):\n        return 1\n"},
        {"def f():\n    a = 1\n\n    return ^a\n\ndef g():\n    pass\n",
         "def f():\n    a = 1\n\n    return a\n"},
    };
    for (const Case& test : cases) {
        INFO(test.source);
        CHECK(block_at(test.source) == test.block);
    }
}

TEST_CASE("a block that is too long gives way to a smaller one, then to the lines around",
          "[plugins][explain]") {
    std::string longest = "void f() {\n";
    for (int i = 0; i < 10; ++i) {
        longest += "    a();\n";
    }
    CHECK(block_at(longest + "    if (b) {\n        c^();\n    }\n}\n", 5) ==
          "    if (b) {\n        c();\n    }\n");
    CHECK(block_at(longest + "    b^();\n}\n", 4) == "    a();\n    a();\n    b();\n}\n");
}

TEST_CASE("text without structure gives the lines around", "[plugins][explain]") {
    CHECK(block_at("a^\nb\nc\n") == "a\nb\nc\n");
    CHECK(block_at("^") == "");
}

}  // namespace
}  // namespace hearth::explain
