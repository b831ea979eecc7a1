// Any bytes as a grammar, and as a JSON Schema: what is accepted can be read with, and every schema
// that is accepted becomes a grammar that is.
#include "core/grammar/json_schema.h"
#include "core/grammar/recogniser.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace hearth;

/// Reads the first fitting byte as long as there is one.
void walk(const std::shared_ptr<const grammar::Grammar>& rules) {
    constexpr int kStepsMax = 64;
    grammar::Recogniser recogniser(rules);
    auto state = recogniser.start();
    for (int step = 0; step < kStepsMax && state != grammar::Recogniser::kDead; ++step) {
        auto next = grammar::Recogniser::kDead;
        for (int byte = 255; byte >= 0 && next == grammar::Recogniser::kDead; --byte) {
            next = recogniser.next(state, static_cast<std::uint8_t>(byte));
        }
        HEARTH_ASSERT(next != grammar::Recogniser::kDead || recogniser.is_complete(state));
        state = next;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = fuzz::to_text(data, size);
    if (const auto rules = grammar::Grammar::parse(text)) {
        walk(*rules);
    } else {
        HEARTH_ASSERT(!rules.error().text.empty());
    }
    if (const auto notation = grammar::gbnf_of_schema(text)) {
        const auto rules = grammar::Grammar::parse(*notation);
        HEARTH_ASSERT(rules.has_value());
        walk(*rules);
    }
    return 0;
}

std::vector<std::string> fuzz::seeds() {
    return {
        "root ::= item (\",\" item)* # all\nitem ::= [0-9a-f]{1,3} | \"\\u00e9\" | [^\"\\\\] .? | "
        "\"(\" root \")\"",
        R"({"type": "object", "properties": {"a": {"type": ["integer", "null"]}, "b": {"enum": [1, "x"]},
                "c": {"type": "array", "items": {"$ref": "#"}, "minItems": 1, "maxItems": 3}}, "required": ["b"]})",
        R"({"anyOf": [{"const": "\n"}, {"type": "string", "minLength": 2}, {"prefixItems": [{}, true]}]})"};
}
