#include "lsp/protocol/window.h"

#include "lsp/protocol/describe_basic.h"

namespace hearth::lsp {

template <typename A>
void describe(A& archive, ShowMessageParams& value) {
    archive("type", value.type);
    archive("message", value.message);
}
template <typename A>
void describe(A& archive, ShowDocumentParams& value) {
    archive("uri", value.uri);
    archive("takeFocus", value.take_focus);
}
template <typename A>
void describe(A& archive, WorkDoneProgressCreateParams& value) {
    archive("token", value.token);
}
template <typename A>
void describe(A& archive, WorkDoneProgressValue& value) {
    archive("kind", value.kind);
    archive("title", value.title);
    archive("cancellable", value.cancellable);
    archive("message", value.message);
}
template <typename A>
void describe(A& archive, ProgressParams& value) {
    archive("token", value.token);
    archive("value", value.value);
}
template <typename A>
void describe(A& archive, CancelParams& value) {
    if constexpr (A::kReads) {
        ProgressToken token;  // an id has the shape of a token
        archive("id", token);
        if (const auto* number = std::get_if<std::int64_t>(&token)) {
            value.id = *number;
        } else {
            value.id = std::get<std::string>(token);
        }
    } else {
        if (const auto* number = std::get_if<std::int64_t>(&value.id)) archive("id", *number);
        if (const auto* text = std::get_if<std::string>(&value.id)) archive("id", *text);
    }
}

HEARTH_LSP_STRUCT(ShowMessageParams);
HEARTH_LSP_STRUCT(ShowDocumentParams);
HEARTH_LSP_STRUCT(WorkDoneProgressCreateParams);
HEARTH_LSP_STRUCT(ProgressParams);
HEARTH_LSP_STRUCT(CancelParams);

}  // namespace hearth::lsp
