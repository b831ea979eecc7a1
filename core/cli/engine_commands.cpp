#include "core/cli/engine_commands.h"

#include <fstream>
#include <iterator>

namespace hearth::cli {

Result<std::string> read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string text(std::istreambuf_iterator<char>(file), {});
    if (file.is_open() && !file.bad()) return text;
    return fail(ErrorCode::not_found, "cannot read " + path + "; check the name", "cli");
}

void add_engine_commands(Program& program, const EngineContext& context) {
    add_generate(program, context);
    add_logits(program, context);
    add_bench(program, context);
    add_tokenize(program, context);
    add_models_info(program, context);
}

}  // namespace hearth::cli
