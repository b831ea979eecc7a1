// A grammar of the JSON texts that a JSON Schema allows.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/grammar/grammar.h"

namespace hearth::grammar {

/// The notation of grammar.h for `schema`; "{}" or "true" is any JSON. What is allowed is valid
/// under the schema; objects get the named properties in their order and no others. Understood:
/// type, properties, required, additionalProperties, items, prefixItems, minItems, maxItems,
/// minLength, maxLength, enum, const, anyOf, oneOf, allOf of one, $ref into the same schema, and
/// words that allow all (title, description, default, format, ...).
///
/// Errors: invalid_argument (not JSON, or no schema, naming the place), unsupported (a word that
/// narrows what is allowed and is not understood, with its place).
Result<std::string> gbnf_of_schema(std::string_view schema);

}  // namespace hearth::grammar
