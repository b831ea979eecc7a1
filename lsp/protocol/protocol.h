// The door of lsp/protocol: LSP 3.18 structs and their JSON, one header per area. Nothing else in
// lsp/ sees JSON. `to_any(value)` and `from_any<T>(any)` convert; both exist for every struct named
// in the areas.
#pragma once

#include "lsp/protocol/basic.h"
#include "lsp/protocol/code_action.h"
#include "lsp/protocol/completion.h"
#include "lsp/protocol/hearth.h"
#include "lsp/protocol/lifecycle.h"
#include "lsp/protocol/rpc.h"
#include "lsp/protocol/text_sync.h"
#include "lsp/protocol/window.h"
#include "lsp/protocol/workspace.h"
