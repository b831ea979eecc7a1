// The structs that all areas share: positions, ranges, documents, edits.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/base/result.h"
#include "lsp/protocol/any.h"

namespace hearth::lsp {

/// Reads a struct of this folder.   Errors: invalid_argument, naming the place:
/// "params.position.line: expected an integer".
template <typename T>
Result<T> from_any(const LspAny& any);
template <typename T>
LspAny to_any(const T& value);

struct Position {
    std::uint32_t line = 0;       ///< from 0
    std::uint32_t character = 0;  ///< from 0, in units of the agreed position encoding

    friend auto operator<=>(const Position&, const Position&) = default;
};
struct Range {
    Position start;
    Position end;

    friend bool operator==(const Range&, const Range&) = default;
};
struct TextDocumentIdentifier {
    std::string uri;

    friend bool operator==(const TextDocumentIdentifier&, const TextDocumentIdentifier&) = default;
};
struct VersionedTextDocumentIdentifier {
    std::string uri;
    std::optional<std::int64_t> version;  ///< null where unknown

    friend bool operator==(const VersionedTextDocumentIdentifier&,
                           const VersionedTextDocumentIdentifier&) = default;
};
struct TextDocumentItem {
    std::string uri;
    std::string language_id;
    std::int64_t version = 0;
    std::string text;

    friend bool operator==(const TextDocumentItem&, const TextDocumentItem&) = default;
};
struct TextDocumentPositionParams {
    TextDocumentIdentifier text_document;
    Position position;

    friend bool operator==(const TextDocumentPositionParams&,
                           const TextDocumentPositionParams&) = default;
};
struct WorkspaceFolder {
    std::string uri;
    std::string name;

    friend bool operator==(const WorkspaceFolder&, const WorkspaceFolder&) = default;
};
struct MarkupContent {
    std::string kind;  ///< "markdown" or "plaintext"
    std::string value;

    friend bool operator==(const MarkupContent&, const MarkupContent&) = default;
};
struct Command {
    std::string title;
    std::string command;
    std::optional<std::vector<LspAny>> arguments;

    friend bool operator==(const Command&, const Command&) = default;
};
/// `message` may come as MarkupContent; it is read as its text.
struct Diagnostic {
    Range range;
    std::optional<std::uint32_t> severity;
    std::optional<std::string> source;
    std::string message;

    friend bool operator==(const Diagnostic&, const Diagnostic&) = default;
};
struct TextEdit {
    Range range;
    std::string new_text;
    std::optional<std::string> annotation_id;  ///< set: an AnnotatedTextEdit

    friend bool operator==(const TextEdit&, const TextEdit&) = default;
};
struct TextDocumentEdit {
    VersionedTextDocumentIdentifier text_document;
    std::vector<TextEdit> edits;

    friend bool operator==(const TextDocumentEdit&, const TextDocumentEdit&) = default;
};
struct ChangeAnnotation {
    std::string label;
    std::optional<bool> needs_confirmation;
    std::optional<std::string> description;

    friend bool operator==(const ChangeAnnotation&, const ChangeAnnotation&) = default;
};
struct WorkspaceEdit {
    std::optional<std::map<std::string, std::vector<TextEdit>>> changes;
    std::optional<std::vector<TextDocumentEdit>> document_changes;
    std::optional<std::map<std::string, ChangeAnnotation>> change_annotations;

    friend bool operator==(const WorkspaceEdit&, const WorkspaceEdit&) = default;
};

/// A token of work-done progress: the client's or ours.
using ProgressToken = std::variant<std::int64_t, std::string>;

}  // namespace hearth::lsp
