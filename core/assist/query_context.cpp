#include "core/assist/query_context.h"

#include <utility>

namespace hearth::assist {

using plugin_host::CallStatus;
using plugin_host::DocumentView;

namespace {

DocumentView view_of(const Document& document, std::uint64_t cursor_byte) {
    return {.uri = document.uri,
            .language = document.language,
            .text = document.text,
            .cursor_byte = cursor_byte};
}

}  // namespace

QueryContext::QueryContext(QueryContextOptions options) : options_(std::move(options)) {
    views_.reserve(options_.others.size());
    for (const DocumentRef& other : options_.others) {
        views_.push_back(view_of(*other, other->last_cursor_byte));
    }
}

DocumentView QueryContext::view(std::uint64_t cursor_byte) const {
    return view_of(*options_.document, cursor_byte);
}

std::string QueryContext::path_of(std::string_view path_or_uri) const {
    if (path_or_uri.empty() || path_or_uri == document()->uri) return document()->path;
    for (const DocumentRef& other : others()) {
        if (path_or_uri == other->uri) return other->path;
    }
    if (path_or_uri.find("://") == std::string_view::npos) return std::string(path_or_uri);
    return std::string(path_or_uri.substr(path_or_uri.rfind('/') + 1));
}

bool QueryContext::is_cancelled() const {
    return has_ended_.load() || options_.cancel.is_cancelled();
}

bool QueryContext::emit(std::uint32_t item, std::string_view piece) {
    // The lock is held while on_piece runs: end() waits for it, so that none comes after the end.
    const LockGuard lock(mutex_);
    if (is_cancelled() || item >= options_.items_max) return false;
    if (piece.size() > options_.bytes_max - bytes_) return false;
    bytes_ += piece.size();
    if (items_.size() <= item) items_.resize(item + 1);
    items_[item] += piece;
    if (item == 0 && options_.on_piece && !piece.empty()) options_.on_piece(piece);
    return true;
}

CallStatus QueryContext::infill(const DocumentView& /*document*/,
                                const plugin_host::InfillOptions& /*options*/,
                                plugin_host::PieceSink& /*sink*/) {
    return CallStatus::unsupported;
}

CallStatus QueryContext::generate(plugin_host::GenerateTask /*task*/,
                                  std::span<const plugin_host::Part> /*parts*/,
                                  plugin_host::PieceSink& /*sink*/) {
    return CallStatus::unsupported;
}

std::vector<std::string> QueryContext::take_items() {
    const LockGuard lock(mutex_);
    return std::exchange(items_, {});
}

void QueryContext::end() {
    {
        const LockGuard lock(mutex_);
        if (has_ended_.exchange(true)) return;
    }
    on_end();
}

}  // namespace hearth::assist
