#include "lsp/protocol/hearth.h"

#include "lsp/protocol/describe_basic.h"

namespace hearth::lsp {

template <typename A>
void describe(A& archive, HearthHello& value) {
    archive("build_id", value.build_id);
    archive("process_id", value.process_id);
    archive("working_folder", value.working_folder);
    archive("environment", value.environment);
}
template <typename A>
void describe(A& archive, HearthWelcome& value) {
    archive("build_id", value.build_id);
    archive("is_accepted", value.is_accepted);
    archive("message", value.message);
}
template <typename A>
void describe(A& archive, HearthStatus& value) {
    archive("version", value.version);
    archive("build_id", value.build_id);
    archive("model", value.model);
    archive("backend", value.backend);
    archive("process_id", value.process_id);
    archive("clients", value.clients);
    archive("requests", value.requests);
    archive("uptime_s", value.uptime_s);
    archive("running", value.running);
    archive("waiting", value.waiting);
    archive("plugins", value.plugins);
    archive("left_out", value.left_out);
    archive("placement", value.placement);
    archive("steps", value.steps);
    archive("steps_abandoned", value.steps_abandoned);
    archive("tokens_drafted", value.tokens_drafted);
    archive("tokens_guessed_right", value.tokens_guessed_right);
    archive("tokens_predicted", value.tokens_predicted);
    archive("tokens_predicted_right", value.tokens_predicted_right);
}
template <typename A>
void describe(A& archive, HearthTextParams& value) {
    archive("path", value.path);
    archive("language", value.language);
    archive("text", value.text);
    archive("begin_byte", value.begin_byte);
    archive("end_byte", value.end_byte);
    archive("message", value.message);
}
template <typename A>
void describe(A& archive, HearthTextResult& value) {
    archive("text", value.text);
    archive("is_found", value.is_found);
    archive("begin_byte", value.begin_byte);
    archive("end_byte", value.end_byte);
    archive("tokens", value.tokens);
    archive("prompt_tokens", value.prompt_tokens);
    archive("cached_tokens", value.cached_tokens);
    archive("first_token_ms", value.first_token_ms);
    archive("total_ms", value.total_ms);
}

HEARTH_LSP_STRUCT(HearthHello);
HEARTH_LSP_STRUCT(HearthWelcome);
HEARTH_LSP_STRUCT(HearthStatus);
HEARTH_LSP_STRUCT(HearthTextParams);
HEARTH_LSP_STRUCT(HearthTextResult);

}  // namespace hearth::lsp
