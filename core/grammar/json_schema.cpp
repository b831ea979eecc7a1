#include "core/grammar/json_schema.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include <nlohmann/json.hpp>

namespace hearth::grammar {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kCommonRules = R"(
blank ::= ([ ] | "\n" [ \t]{0,40})?
value ::= object | array | string | number | boolean | null
object ::= "{" blank (member ("," blank member)*)? "}" blank
member ::= string ":" blank value
array ::= "[" blank (value ("," blank value)*)? "]" blank
string ::= "\"" character* "\"" blank
character ::= [^"\\\x00-\x1F\x7F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4})
number ::= whole ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,3})? blank
integer ::= whole blank
whole ::= "-"? ("0" | [1-9] [0-9]{0,17})
boolean ::= ("true" | "false") blank
null ::= "null" blank
)";

constexpr std::array<std::string_view, 17> kFree = {"$schema",
                                                    "$id",
                                                    "$comment",
                                                    "$defs",
                                                    "definitions",
                                                    "title",
                                                    "default",
                                                    "examples",
                                                    "format",
                                                    "readOnly",
                                                    "description",
                                                    "deprecated",
                                                    "writeOnly",
                                                    "$anchor",
                                                    "x-order",
                                                    "strict",
                                                    "contentMediaType"};

/// Words that belong to a type.
constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kTypeWords = {{
    {"object", "properties"},
    {"object", "required"},
    {"object", "additionalProperties"},
    {"array", "items"},
    {"array", "prefixItems"},
    {"array", "minItems"},
    {"array", "maxItems"},
    {"string", "minLength"},
    {"string", "maxLength"},
}};

/// "text" of the notation.
std::string gbnf_text(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        if (c == '\n') {
            out += "\\n";
        } else {
            out += c;
        }
    }
    return out + "\"";
}

class Translator {
  public:
    explicit Translator(const Json& root) : root_(root) {}

    Result<std::string> run() {
        const std::string whole = rule_of(root_, "#", 0);
        if (error_) return fail(*std::move(error_));
        std::string text = "root ::= blank " + whole + "\n";
        for (const auto& [name, body] : rules_) {
            text += name + " ::= " + body + "\n";
        }
        return text + std::string(kCommonRules);
    }

  private:
    std::string refuse(ErrorCode code, const std::string& what, const std::string& place) {
        if (!error_) error_ = Error{code, "the schema's " + place + " " + what, "grammar"};
        return "null";
    }
    std::string refuse(const std::string& what, const std::string& place) {
        return refuse(ErrorCode::invalid_argument, what, place);
    }

    std::string add_rule(const std::string& body) {
        std::string name = "r" + std::to_string(rules_.size());
        rules_.emplace(name, body);
        return name;
    }

    /// A piece of the notation for a schema; `place` is its JSON pointer.
    std::string rule_of(const Json& schema, const std::string& place, int depth) {
        if (error_) return "null";
        if (depth > GrammarLimits::kNestingMax) return refuse("is nested too deeply", place);
        if (schema.is_boolean()) {
            return schema.get<bool>() ? "value" : refuse("allows nothing", place);
        }
        if (!schema.is_object()) return refuse("is no schema: expected an object", place);
        if (const Json* reference = find(schema, "$ref")) {
            check_words(schema, place, {"$ref"});
            return rule_of_reference(*reference, place, depth);
        }
        // With the values given, a type says nothing new.
        if (const Json* value = find(schema, "const")) {
            check_words(schema, place, {"const", "type"});
            return literal(*value);
        }
        if (const Json* values = find(schema, "enum")) {
            check_words(schema, place, {"enum", "type"});
            return rule_of_values(*values, place);
        }
        for (const char* word : {"anyOf", "oneOf", "allOf"}) {
            const Json* choices = find(schema, word);
            if (choices == nullptr) continue;
            check_words(schema, place, {word});
            if (word == std::string_view("allOf") && choices->size() != 1) {
                return refuse(ErrorCode::unsupported, "has an allOf of more than one", place);
            }
            return rule_of_choices(*choices, place + "/" + word, depth);
        }
        return rule_of_types(schema, place, depth);
    }

    static const Json* find(const Json& schema, const char* word) {
        const auto found = schema.find(word);
        return found == schema.end() ? nullptr : &*found;
    }

    /// Nothing that narrows is passed over in silence.
    void check_words(const Json& schema,
                     const std::string& place,
                     const std::set<std::string_view>& known) {
        for (const auto& [word, value] : schema.items()) {
            if (known.contains(word) || std::ranges::find(kFree, word) != kFree.end()) continue;
            refuse(ErrorCode::unsupported,
                   "has the word \"" + word + "\", which is not understood here",
                   place);
        }
    }

    static std::string literal(const Json& value) {
        return "(" + gbnf_text(value.dump()) + " blank)";
    }

    std::string rule_of_values(const Json& values, const std::string& place) {
        if (!values.is_array() || values.empty()) return refuse("has an empty enum", place);
        std::string body;
        for (const Json& value : values) {
            body += (body.empty() ? "" : " | ") + literal(value);
        }
        return add_rule(body);
    }

    std::string rule_of_choices(const Json& choices, const std::string& place, int depth) {
        if (!choices.is_array() || choices.empty()) return refuse("has no choices", place);
        std::string body;
        for (std::size_t i = 0; i < choices.size(); ++i) {
            const std::string at = place + "/" + std::to_string(i);
            body += (body.empty() ? "" : " | ") + rule_of(choices[i], at, depth + 1);
        }
        return add_rule(body);
    }

    /// Each place is translated once, so that a schema may hold itself.
    std::string rule_of_reference(const Json& reference, const std::string& place, int depth) {
        const std::string text = reference.is_string() ? reference.get<std::string>() : "";
        if (!text.starts_with("#")) {
            return refuse(ErrorCode::unsupported,
                          "refers to \"" + text + "\": only places of the same schema are known",
                          place);
        }
        const auto [known, is_new] =
            references_.try_emplace(text, "d" + std::to_string(references_.size()));
        std::string name = known->second;
        if (!is_new) return name;
        const Json* target = nullptr;
        try {
            target = &root_.at(Json::json_pointer(text.substr(1)));
        } catch (const Json::exception&) {
            return refuse("refers to \"" + text + "\", which is not there", place);
        }
        rules_[name] = rule_of(*target, text, depth + 1);
        return name;
    }

    std::string rule_of_types(const Json& schema, const std::string& place, int depth) {
        std::vector<std::string> types;
        if (const Json* type = find(schema, "type")) {
            if (type->is_string()) types = {type->get<std::string>()};
            for (const Json& each : type->is_array() ? *type : Json::array()) {
                if (each.is_string()) types.push_back(each.get<std::string>());
            }
            if (types.empty()) return refuse("has a type that is no name", place);
        } else if (schema.contains("properties") || schema.contains("required")) {
            types = {"object"};
        } else if (schema.contains("items") || schema.contains("prefixItems")) {
            types = {"array"};
        } else {
            check_words(schema, place, {});
            return "value";
        }
        std::set<std::string_view> words = {"type"};
        for (const auto& [type, word] : kTypeWords) {
            if (std::ranges::find(types, type) != types.end()) words.insert(word);
        }
        check_words(schema, place, words);
        std::string body;
        for (const std::string& type : types) {
            const std::string rule = rule_of_type(type, schema, place, depth);
            body += (body.empty() ? "" : " | ") + rule;
        }
        return types.size() == 1 ? body : add_rule(body);
    }

    std::string rule_of_type(const std::string& type,
                             const Json& schema,
                             const std::string& place,
                             int depth) {
        if (type == "object") return rule_of_object(schema, place, depth);
        if (type == "array") return rule_of_array(schema, place, depth);
        if (type == "string") {
            const std::string counts = counts_of(schema, "minLength", "maxLength", place);
            return counts == "*" ? "string"
                                 : add_rule("\"\\\"\" character" + counts + " \"\\\"\" blank");
        }
        if (type != "number" && type != "integer" && type != "boolean" && type != "null") {
            return refuse("has an unknown type \"" + type + "\"", place);
        }
        return type;
    }

    /// "{2,5}", or "*" where neither word is there.
    std::string counts_of(const Json& schema,
                          const char* least_word,
                          const char* most_word,
                          const std::string& place) {
        const auto count = [&](const char* word) -> std::optional<std::uint64_t> {
            const Json* value = find(schema, word);
            if (value == nullptr) return std::nullopt;
            if (!value->is_number_unsigned()) {
                refuse(std::string("has a ") + word + " that is no count", place);
                return std::nullopt;
            }
            return value->get<std::uint64_t>();
        };
        const auto least = count(least_word);
        const auto most = count(most_word);
        if (!least && !most) return "*";
        if (least && most && *least > *most) {
            return refuse(std::string("has a ") + least_word + " above its " + most_word, place);
        }
        return "{" + std::to_string(least.value_or(0)) + "," +
               (most ? std::to_string(*most) : std::string()) + "}";
    }

    std::string rule_of_array(const Json& schema, const std::string& place, int depth) {
        const Json* first = find(schema, "prefixItems");
        const Json* items = find(schema, "items");
        const std::string counts = counts_of(schema, "minItems", "maxItems", place);
        if (error_) return "null";
        if (first != nullptr) {
            if (items != nullptr && *items != Json(false)) {
                return refuse(ErrorCode::unsupported, "has items behind prefixItems", place);
            }
            std::string body;
            for (std::size_t i = 0; i < first->size(); ++i) {
                body +=
                    (body.empty() ? "" : " \",\" blank ") +
                    rule_of((*first)[i], place + "/prefixItems/" + std::to_string(i), depth + 1);
            }
            return add_rule("\"[\" blank " + body + " \"]\" blank");
        }
        const std::string item =
            items == nullptr ? "value" : rule_of(*items, place + "/items", depth + 1);
        const std::string more = add_rule("\",\" blank " + item);
        if (counts == "*") {
            return add_rule("\"[\" blank (" + item + " " + more + "*)? \"]\" blank");
        }
        return rule_of_counted(item, more, counts);
    }

    /// The first item has no comma before it: one less of the others.
    std::string rule_of_counted(const std::string& item,
                                const std::string& more,
                                const std::string& counts) {
        const std::size_t comma = counts.find(',');
        const std::uint64_t least = std::stoull(counts.substr(1, comma - 1));
        const std::string most = counts.substr(comma + 1, counts.size() - comma - 2);
        if (most == "0") return add_rule("\"[\" blank \"]\" blank");
        const std::string rest = "{" + std::to_string(least == 0 ? 0 : least - 1) + "," +
                                 (most.empty() ? "" : std::to_string(std::stoull(most) - 1)) + "}";
        const std::string list = item + " " + more + rest;
        return add_rule("\"[\" blank " + (least == 0 ? "(" + list + ")?" : list) + " \"]\" blank");
    }

    std::string rule_of_object(const Json& schema, const std::string& place, int depth) {
        const Json* properties = find(schema, "properties");
        const Json* required = find(schema, "required");
        const Json* others = find(schema, "additionalProperties");
        std::set<std::string> needed;
        for (const Json& name : required == nullptr ? Json::array() : *required) {
            if (name.is_string()) needed.insert(name.get<std::string>());
        }
        if (properties == nullptr || properties->empty()) {
            if (!needed.empty()) {
                return refuse("requires a property that it does not describe", place);
            }
            if (others == nullptr || *others == Json(true)) return "object";
            if (*others == Json(false)) return add_rule("\"{\" blank \"}\" blank");
            const std::string member =
                add_rule("string \":\" blank " +
                         rule_of(*others, place + "/additionalProperties", depth + 1));
            return add_rule("\"{\" blank (" + member + " (\",\" blank " + member +
                            ")*)? \"}\" blank");
        }
        if (!properties->is_object()) return refuse("has properties that are no object", place);
        struct Member {
            std::string rule;
            bool is_required;
        };
        std::vector<Member> members;
        for (const auto& [name, property] : properties->items()) {
            const std::string value = rule_of(property, place + "/properties/" + name, depth + 1);
            members.push_back(
                {add_rule(gbnf_text(Json(name).dump()) + " blank \":\" blank " + value),
                 needed.erase(name) > 0});
        }
        if (!needed.empty()) {
            return refuse("requires \"" + *needed.begin() + "\", which it does not describe",
                          place);
        }
        // From the last one on: what may come behind a member, and where none has come yet.
        std::string behind;
        std::string begin;
        for (auto member = members.rbegin(); member != members.rend(); ++member) {
            const std::string first = member->rule + " " + behind;
            const std::string next = "\",\" blank " + first;
            begin = member->is_required
                        ? add_rule(first)
                        : add_rule(first + (begin.empty() ? " | \"\"" : " | " + begin));
            behind = member->is_required
                         ? add_rule(next)
                         : add_rule(next + (behind.empty() ? " | \"\"" : " | " + behind));
        }
        return add_rule("\"{\" blank " + begin + " \"}\" blank");
    }

    const Json& root_;
    std::map<std::string, std::string> rules_;
    std::map<std::string, std::string> references_;  ///< place -> rule
    std::optional<Error> error_;
};

}  // namespace

Result<std::string> gbnf_of_schema(std::string_view schema) {
    Json root;
    try {
        root = Json::parse(schema);
    } catch (const Json::exception& error) {
        return fail(ErrorCode::invalid_argument,
                    std::string("the schema is no JSON: ") + error.what(),
                    "grammar");
    }
    HEARTH_TRY(std::string rules, Translator(root).run());
    // A schema that is nothing but itself, or that repeats too often, shows here.
    const auto grammar = Grammar::parse(rules);
    if (grammar) return rules;
    return fail(
        grammar.error().code, "the schema becomes no grammar: " + grammar.error().text, "grammar");
}

}  // namespace hearth::grammar
