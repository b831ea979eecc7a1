// Completion as the editor asks for it: ghost text, or a menu item where there is no ghost text.
#include <algorithm>

#include "core/assist/text_lines.h"
#include "lsp/server/session.h"

namespace hearth::lsp {
namespace {

constexpr std::uint32_t kItemKindText = 1;
constexpr std::size_t kLabelBytesMax = 80;

bool is_word_byte(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x80 || c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z');
}

/// The first line of a suggestion, short enough for a menu; cut between characters.
std::string to_label(const std::string& text) {
    std::string label = text.substr(0, text.find('\n'));
    label.erase(0, label.find_first_not_of(" \t"));
    if (label.size() <= kLabelBytesMax) return label;
    std::size_t end = kLabelBytesMax;
    while (end > 0 && (static_cast<unsigned char>(label[end]) & 0xC0U) == 0x80U) {
        --end;
    }
    return label.substr(0, end) + "…";
}

}  // namespace

assist::CompletionAnswer LspSession::rest_of_suggested(const assist::Document& document,
                                                       std::uint64_t cursor_byte) const {
    assist::CompletionAnswer rest;
    const std::uint64_t begin = suggested_.cursor_byte;
    if (suggested_.document == nullptr || suggested_.document->uri != document.uri) return rest;
    const std::string_view before = suggested_.document->text;
    const std::string_view now = document.text;
    const bool is_typed = cursor_byte > begin && now.starts_with(before.substr(0, begin)) &&
                          now.substr(cursor_byte) == before.substr(begin);
    if (!is_typed) return rest;
    const std::string_view typed = now.substr(begin, cursor_byte - begin);
    for (const assist::Suggestion& suggestion : suggested_.answer.suggestions) {
        if (!suggestion.text.starts_with(typed)) continue;
        std::string text = suggestion.text.substr(typed.size());
        if (assist::is_blank(text)) continue;
        rest.suggestions.push_back({std::move(text)});
    }
    return rest;
}

void LspSession::complete(
    const RpcRequest& request,
    const InlineCompletionParams& params,
    const std::function<
        LspAny(LspSession&, const assist::Document&, const assist::CompletionAnswer&)>& to_result) {
    const std::string& uri = params.text_document.uri;
    const assist::DocumentRef document = supersede(request, uri);
    if (document == nullptr) return;
    assist::CompletionQuery query;
    query.document = document;
    query.cursor_byte = to_byte(document->text, params.position, documents_.encoding());
    if (params.context) {
        const bool is_invoked = params.context->trigger_kind == kTriggerInvoked;
        query.trigger = is_invoked ? assist::Trigger::invoked : assist::Trigger::automatic;
        if (const auto& selected = params.context->selected_completion_info) {
            query.selected_text = selected->text;
            query.selected_begin_byte =
                std::min(to_byte(document->text, selected->range.start, documents_.encoding()),
                         query.cursor_byte);
        }
    }
    const bool is_typing = query.trigger == assist::Trigger::automatic;
    documents_.touch(uri, query.cursor_byte);
    if (is_typing && !query.selected_text) {
        // Whoever types along a suggestion sees the same one, and at once.
        const assist::CompletionAnswer rest = rest_of_suggested(*document, query.cursor_byte);
        if (!rest.suggestions.empty()) {
            ++answered_count_;
            return reply(request.id, to_result(*this, *document, rest));
        }
    }
    Pending* pending = add_pending(request, uri);
    if (pending == nullptr) return;
    query.open_documents = documents_.others(uri);
    query.cancel = pending->cancel.token();
    // Who asks aloud waits as long as assist allows; while typing, late is as good as never.
    if (is_typing) query.deadline = parts_.clock.now() + limits_.completion_deadline;

    const auto done = deliver<assist::CompletionAnswer>(
        request.id,
        [id = request.id,
         document,
         cursor_byte = query.cursor_byte,
         is_kept = !query.selected_text.has_value(),
         to_result](LspSession& self, const assist::CompletionAnswer& answer) {
            if (is_kept) self.suggested_ = {document, cursor_byte, answer};
            ++self.answered_count_;
            self.reply(id, to_result(self, *document, answer));
        });
    parts_.assistant.complete(std::move(query), [done](Result<assist::CompletionAnswer> answer) {
        // Nothing in time is no suggestion, not an error that an editor would show.
        const bool is_late = !answer && answer.error().code == ErrorCode::timed_out;
        done(is_late ? assist::CompletionAnswer{} : std::move(answer));
    });
}

void LspSession::inline_completion(const RpcRequest& request) {
    const Result<InlineCompletionParams> params = from_any<InlineCompletionParams>(request.params);
    if (!params) return refuse(request.id, params.error());
    complete(
        request,
        *params,
        [params = *params](LspSession& self,
                           const assist::Document& document,
                           const assist::CompletionAnswer& answer) {
            // The place as the editor meant it: clamped to the text.
            const PositionEncoding encoding = self.documents_.encoding();
            const Position cursor = to_position(
                document.text, to_byte(document.text, params.position, encoding), encoding);
            Range range{cursor, cursor};
            if (params.context && params.context->selected_completion_info) {
                range.start = params.context->selected_completion_info->range.start;
            }
            InlineCompletionList list;
            for (const assist::Suggestion& suggestion : answer.suggestions) {
                list.items.push_back(InlineCompletionItem{suggestion.text, std::nullopt, range});
            }
            return to_any(list);
        });
}

void LspSession::completion(const RpcRequest& request) {
    const Result<TextDocumentPositionParams> place =
        from_any<TextDocumentPositionParams>(request.params);
    if (!place) return refuse(request.id, place.error());
    const InlineCompletionParams params{
        place->text_document, place->position, InlineCompletionContext{}};
    complete(request,
             params,
             [position = place->position](LspSession& self,
                                          const assist::Document& document,
                                          const assist::CompletionAnswer& answer) {
                 const PositionEncoding encoding = self.documents_.encoding();
                 const std::uint64_t cursor = to_byte(document.text, position, encoding);
                 std::uint64_t word_begin = cursor;
                 while (word_begin > 0 && is_word_byte(document.text[word_begin - 1])) {
                     --word_begin;
                 }
                 const std::string word = document.text.substr(word_begin, cursor - word_begin);
                 const Range range{to_position(document.text, word_begin, encoding),
                                   to_position(document.text, cursor, encoding)};
                 CompletionList list;
                 for (const assist::Suggestion& suggestion : answer.suggestions) {
                     CompletionItem item;
                     item.label = to_label(word + suggestion.text);
                     item.kind = kItemKindText;
                     item.detail = "hearth";
                     item.documentation = MarkupContent{"plaintext", word + suggestion.text};
                     item.sort_text = "0";
                     // Menus filter by the word before the cursor; an empty one lets everything
                     // pass.
                     item.filter_text = word.empty()
                                            ? suggestion.text.substr(0, suggestion.text.find('\n'))
                                            : word;
                     item.text_edit = TextEdit{range, word + suggestion.text, std::nullopt};
                     list.items.push_back(std::move(item));
                 }
                 return to_any(list);
             });
}

}  // namespace hearth::lsp
