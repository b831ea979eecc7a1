// What the product shows at a cursor, and why: the same prompt, engine, gates and choice as behind
// an editor, without plugins, deadlines and other documents, so that the result does not depend on
// the load of the machine.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/assist/completion_gate.h"
#include "core/assist/prompt_format.h"
#include "core/base/result.h"
#include "core/compute/compute.h"
#include "core/engine/engine.h"
#include "core/model/model.h"
#include "core/tokenizer/tokenizer.h"

namespace hearth::evaluation {

/// A cursor in a file.
struct LineCase {
    std::string path, language, prefix, suffix;
};

struct LineAnswer {
    assist::Decision decision;  ///< for one line, whatever its probability
    std::vector<assist::CopyOffer> copies;
};

/// The copies alone, and the choice among them.
LineAnswer copy_line(const LineCase& cursor);

/// Thread: one at a time.
class Product {
  public:
    /// `backend` outlives it.
    ///
    /// Errors: unsupported (no fill-in-the-middle tokens), those of Tokenizer::from_gguf and of
    /// Engine::make.
    static Result<std::unique_ptr<Product>> make(std::shared_ptr<const model::Model> model,
                                                 compute::Backend& backend);

    /// Errors: too_large (a context that holds no prompt), those of the tokenizer and the engine.
    Result<LineAnswer> complete_line(const LineCase& cursor);

  private:
    Product() = default;

    // Fixed after construction.
    SteadyClock clock_;
    std::shared_ptr<const tokenizer::Tokenizer> tokenizer_;
    std::unique_ptr<assist::PromptFormat> format_;
    std::unique_ptr<engine::Engine> engine_;
};

}  // namespace hearth::evaluation
