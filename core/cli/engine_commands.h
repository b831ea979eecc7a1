// The commands that run in process, on the engine's rooms alone: generate, logits, bench, tokenize
// and models info. hearth-engine is made of them; hearth has them beside the daemon's.
#pragma once

#include <iosfwd>
#include <string>

#include "core/base/result.h"
#include "core/cli/program.h"

namespace hearth::cli {

/// Where commands read and write, and where the model is looked for. The streams outlive it.
struct EngineContext {
    std::string settings_path;   ///< read by the command that needs it
    std::string program_folder;  ///< models and accelerators lie beside it
    std::istream& in;
    std::ostream& out;  ///< what was asked for
    std::ostream& err;  ///< notes; errors are the Program's
};

/// `context` outlives the program.
void add_engine_commands(Program& program, const EngineContext& context);

/// All bytes of a file.   Errors: not_found.
Result<std::string> read_file(const std::string& path);

// One file per command.
void add_generate(Program& program, const EngineContext& context);
void add_logits(Program& program, const EngineContext& context);
void add_bench(Program& program, const EngineContext& context);
void add_tokenize(Program& program, const EngineContext& context);
void add_models_info(Program& program, const EngineContext& context);

}  // namespace hearth::cli
