// The commands that go through the daemon or start it, and those that load plugins; one small file
// each.
#pragma once

#include "core/cli/program.h"

namespace hearth::cli {

void add_serve_command(Program& program);
void add_stop_command(Program& program);
void add_status_command(Program& program);
void add_doctor_command(Program& program);
void add_lsp_command(Program& program);
void add_complete_command(Program& program);
void add_explain_command(Program& program);
void add_fix_command(Program& program);
void add_plugins_commands(Program& program);

}  // namespace hearth::cli
