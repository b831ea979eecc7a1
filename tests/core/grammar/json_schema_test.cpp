#include "core/grammar/json_schema.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/core/grammar/matches.h"

namespace hearth::grammar {
namespace {

struct Case {
    std::string schema;
    std::vector<std::string> right, wrong;
};

TEST_CASE("what a schema allows is allowed, and nothing else", "[grammar][json_schema]") {
    const Case cases[] = {
        {"{}",
         {R"({"a": [1, -2.5e3, true, null, "x\n\u00e9"], "b": {}})", "[]", "0", "\"\""},
         {"{", "01", "[1,]", "{\"a\"}", "\"\n\"", "nul", "\"\\x\""}},
        {"true", {"1", "[]"}, {"x"}},
        {R"({"type": "string"})", {"\"a\""}, {"1", "a", "\"a"}},
        {R"({"type": "string", "minLength": 2, "maxLength": 3})",
         {"\"ab\"", "\"\xC3\xA9z\\n\""},
         {"\"a\"", "\"abcd\""}},
        {R"({"type": "integer"})", {"0", "-12"}, {"1.0", "00", ""}},
        {R"({"type": ["number", "null"]})", {"1.5", "null"}, {"\"1\"", "true"}},
        {R"({"enum": ["a b", 3, null, {"x": [1]}]})",
         {"\"a b\"", "3", "null", "{\"x\":[1]}"},
         {"\"a\"", "4"}},
        {R"({"const": "say \"hi\"\n"})", {R"("say \"hi\"\n")"}, {"\"say\""}},
        {R"({"type": "array", "items": {"type": "boolean"}})",
         {"[]", "[true]", "[true, false]"},
         {"[1]", "[true,]", "true"}},
        {R"({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3})",
         {"[1]", "[1,2]", "[1, 2, 3]"},
         {"[]", "[1,2,3,4]"}},
        {R"({"type": "array", "maxItems": 1})", {"[]", "[{}]"}, {"[1,2]"}},
        {R"({"type": "array", "maxItems": 0})", {"[]"}, {"[1]"}},
        {R"({"prefixItems": [{"type": "null"}, {"type": "string"}], "items": false})",
         {"[null, \"a\"]"},
         {"[null]", "[\"a\", null]"}},
        {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"},
             "c": {"type": "null"}}, "required": ["b"], "additionalProperties": false})",
         {R"({"b": "x"})",
          R"({"a": 1, "b": "x"})",
          R"({ "b": "", "c": null })",
          R"({"a":1,"b":"x","c":null})"},
         {"{}",
          R"({"a": 1})",
          R"({"b": "x", "a": 1})",
          R"({"b": "x",})",
          R"({"b": 1})",
          R"({"b": "x", "d": 1})"}},
        {R"({"properties": {"a": {}, "b": {}}})",
         {"{}", R"({"a": 1})", R"({"b": []})", R"({"a": {}, "b": 2})"},
         {R"({"b": 1, "a": 2})"}},
        {R"({"type": "object", "additionalProperties": {"type": "integer"}})",
         {"{}", R"({"x": 1, "y": 2})"},
         {R"({"x": "1"})"}},
        {R"({"type": "object", "additionalProperties": false})", {"{}"}, {R"({"x": 1})"}},
        {R"({"anyOf": [{"type": "null"}, {"type": "array", "items": {"const": 1}}]})",
         {"null", "[1,1]"},
         {"[2]", "1"}},
        {R"({"allOf": [{"type": "boolean"}], "description": "yes or no"})", {"true"}, {"1"}},
        {R"({"$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
             "$ref": "#/$defs/node"})",
         {"{}", R"({"next": {"next": {}}})"},
         {R"({"next": 1})"}},
        {R"({"type": ["object", "null"], "properties": {"k": {"type": "array", "items": {"$ref": "#"}}}})",
         {"null", R"({"k": [null, {"k": []}]})"},
         {"[]"}},
    };
    for (const Case& each : cases) {
        const auto rules = gbnf_of_schema(each.schema);
        INFO(each.schema << ": " << (rules ? *rules : rules.error().text));
        REQUIRE(rules);
        test::check_matches(*rules, each.right, each.wrong);
    }
}

TEST_CASE("what a schema says and is not understood is named", "[grammar][json_schema]") {
    struct Wrong {
        std::string schema, said;
    };
    const Wrong wrongs[] = {
        {"{", "no JSON"},
        {"3", "no schema"},
        {"false", "allows nothing"},
        {R"({"type": "text"})", "unknown type \"text\""},
        {R"({"type": "string", "pattern": "a+"})", "\"pattern\""},
        {R"({"properties": {"x": {"type": "integer", "minimum": 3}}})", "#/properties/x"},
        {R"({"type": "string", "minItems": 3})", "\"minItems\""},
        {R"({"required": ["a"]})", "requires"},
        {R"({"properties": {"a": {}}, "required": ["b"]})", "\"b\""},
        {R"({"enum": []})", "empty enum"},
        {R"({"$ref": "http://example.org/x"})", "same schema"},
        {R"({"$ref": "#/$defs/x"})", "not there"},
        {R"({"allOf": [{}, {}]})", "allOf"},
        {R"({"type": "array", "minItems": -1})", "no count"},
        {R"({"type": "array", "minItems": 5, "maxItems": 3})", "minItems above its maxItems"},
        {R"({"type": "string", "maxLength": 100000})", "at most 4096"},
        {R"({"anyOf": [{"$ref": "#"}, {"type": "null"}]})", "begin with itself"},
    };
    for (const Wrong& wrong : wrongs) {
        const auto rules = gbnf_of_schema(wrong.schema);
        INFO(wrong.schema);
        REQUIRE_FALSE(rules);
        CHECK_THAT(rules.error().text, Catch::Contains(wrong.said));
    }
    std::string deep;
    for (int i = 0; i < 200; ++i) {
        deep += R"({"items": )";
    }
    CHECK_FALSE(gbnf_of_schema(deep + "{}" + std::string(200, '}')));
}

}  // namespace
}  // namespace hearth::grammar
