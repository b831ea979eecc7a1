#include "core/cli/engine_commands.h"

namespace hearth::cli {

void add_engine_commands(Program& program, const EngineContext& context) {
    add_generate(program, context);
    add_logits(program, context);
    add_bench(program, context);
    add_tokenize(program, context);
    add_models_info(program, context);
}

}  // namespace hearth::cli
