// A guide that holds an answer to a grammar. Its masks are made on a thread of its own while the
// model computes.
#pragma once

#include <memory>
#include <vector>

#include "core/engine/request.h"
#include "core/grammar/grammar.h"
#include "core/tokenizer/token_order.h"

namespace hearth::grammar {

/// The end tokens of the tokenizer may come where the text may end; where nothing else may, they
/// have to. `tokenizer` outlives the guide. A token that the grammar does not allow ends the
/// guiding: it was not the guide's.
///
/// Thread: any; the guide's own functions as engine::TokenGuide says.
std::shared_ptr<engine::TokenGuide> make_guide(std::shared_ptr<const Grammar> grammar,
                                               const tokenizer::Tokenizer& tokenizer,
                                               std::shared_ptr<const tokenizer::TokenOrder> order);

}  // namespace hearth::grammar
