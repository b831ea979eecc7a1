// Private to lsp/protocol: how the structs of basic.h are read and written.
#pragma once

#include "lsp/protocol/json_io.h"

namespace hearth::lsp {

template <typename A>
void describe(A& archive, Position& value) {
    archive("line", value.line);
    archive("character", value.character);
}
template <typename A>
void describe(A& archive, Range& value) {
    archive("start", value.start);
    archive("end", value.end);
}
template <typename A>
void describe(A& archive, TextDocumentIdentifier& value) {
    archive("uri", value.uri);
}
template <typename A>
void describe(A& archive, VersionedTextDocumentIdentifier& value) {
    archive("uri", value.uri);
    archive("version", value.version);
    if constexpr (!A::kReads) {
        if (!value.version) archive.object()["version"] = nullptr;
    }
}
template <typename A>
void describe(A& archive, TextDocumentItem& value) {
    archive("uri", value.uri);
    archive("languageId", value.language_id);
    archive("version", value.version);
    archive("text", value.text);
}
template <typename A>
void describe(A& archive, TextDocumentPositionParams& value) {
    archive("textDocument", value.text_document);
    archive("position", value.position);
}
template <typename A>
void describe(A& archive, WorkspaceFolder& value) {
    archive("uri", value.uri);
    archive("name", value.name);
}
template <typename A>
void describe(A& archive, MarkupContent& value) {
    archive("kind", value.kind);
    archive("value", value.value);
}
template <typename A>
void describe(A& archive, Command& value) {
    archive("title", value.title);
    archive("command", value.command);
    archive("arguments", value.arguments);
}
template <typename A>
void describe(A& archive, Diagnostic& value) {
    archive("range", value.range);
    archive("severity", value.severity);
    archive("source", value.source);
    if constexpr (A::kReads) {
        const auto message = archive.object().find("message");
        if (message != archive.object().end() && message->is_object()) {
            MarkupContent content;
            archive("message", content);
            value.message = content.value;
            return;
        }
    }
    archive("message", value.message);
}
template <typename A>
void describe(A& archive, TextEdit& value) {
    archive("range", value.range);
    archive("newText", value.new_text);
    archive("annotationId", value.annotation_id);
}
template <typename A>
void describe(A& archive, TextDocumentEdit& value) {
    archive("textDocument", value.text_document);
    archive("edits", value.edits);
}
template <typename A>
void describe(A& archive, ChangeAnnotation& value) {
    archive("label", value.label);
    archive("needsConfirmation", value.needs_confirmation);
    archive("description", value.description);
}
template <typename A>
void describe(A& archive, WorkspaceEdit& value) {
    archive("changes", value.changes);
    archive("documentChanges", value.document_changes);
    archive("changeAnnotations", value.change_annotations);
}

}  // namespace hearth::lsp
