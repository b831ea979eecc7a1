// textDocument/inlineCompletion, and textDocument/completion for editors without ghost text.
#pragma once

#include "lsp/protocol/basic.h"

namespace hearth::lsp {

inline constexpr std::uint32_t kTriggerInvoked = 1;
inline constexpr std::uint32_t kTriggerAutomatic = 2;

struct SelectedCompletionInfo {
    Range range;
    std::string text;

    friend bool operator==(const SelectedCompletionInfo&, const SelectedCompletionInfo&) = default;
};
struct InlineCompletionContext {
    std::optional<std::uint32_t> trigger_kind;
    std::optional<SelectedCompletionInfo> selected_completion_info;

    friend bool operator==(const InlineCompletionContext&,
                           const InlineCompletionContext&) = default;
};
struct InlineCompletionParams {
    TextDocumentIdentifier text_document;
    Position position;
    std::optional<InlineCompletionContext> context;

    friend bool operator==(const InlineCompletionParams&, const InlineCompletionParams&) = default;
};
struct InlineCompletionItem {
    std::string insert_text;
    std::optional<std::string> filter_text;
    std::optional<Range> range;  ///< starts and ends on one line

    friend bool operator==(const InlineCompletionItem&, const InlineCompletionItem&) = default;
};
struct InlineCompletionList {
    std::vector<InlineCompletionItem> items;

    friend bool operator==(const InlineCompletionList&, const InlineCompletionList&) = default;
};

struct CompletionItem {
    std::string label;
    std::optional<std::uint32_t> kind;
    std::optional<std::string> detail;
    std::optional<MarkupContent> documentation;
    std::optional<std::string> sort_text;
    std::optional<std::string> filter_text;
    std::optional<TextEdit> text_edit;

    friend bool operator==(const CompletionItem&, const CompletionItem&) = default;
};
struct CompletionList {
    bool is_incomplete = true;
    std::vector<CompletionItem> items;

    friend bool operator==(const CompletionList&, const CompletionList&) = default;
};

struct Hover {
    MarkupContent contents;
    std::optional<Range> range;

    friend bool operator==(const Hover&, const Hover&) = default;
};

}  // namespace hearth::lsp
