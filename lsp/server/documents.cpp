#include "lsp/server/documents.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace hearth::lsp {
namespace {

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

std::string decode_percent(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const int high = text[i] == '%' && i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
        const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
        if (low >= 0) {
            out.push_back(static_cast<char>(high * 16 + low));
            i += 2;
        } else {
            out.push_back(text[i]);
        }
    }
    return out;
}

/// Control characters in a path would break the prompt's one path line.
std::string clean(std::string path) {
    std::replace_if(
        path.begin(), path.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, '_');
    return path;
}

}  // namespace

Result<void> Documents::open(TextDocumentItem item) {
    if (entries_.size() >= kOpenDocumentsMax && entries_.find(item.uri) == entries_.end()) {
        return fail(ErrorCode::too_large,
                    "cannot open " + item.uri + ": " + std::to_string(kOpenDocumentsMax) +
                        " documents are open already; close some",
                    "documents");
    }
    auto document = std::make_shared<assist::Document>();
    document->path = display_path(item.uri);
    document->language = std::move(item.language_id);
    document->version = item.version;
    document->text = std::move(item.text);
    document->uri = item.uri;
    entries_[item.uri] = Entry{std::move(document), ++use_counter_};
    return {};
}

Result<void> Documents::change(const DidChangeTextDocumentParams& params) {
    const auto found = entries_.find(params.text_document.uri);
    if (found == entries_.end()) {
        return fail(ErrorCode::not_found,
                    "change of " + params.text_document.uri +
                        ", which is not open; send textDocument/didOpen first",
                    "documents");
    }
    auto next = std::make_shared<assist::Document>(*found->second.snapshot);
    for (const TextDocumentContentChangeEvent& change : params.content_changes) {
        if (!change.range) {
            next->text = change.text;
            continue;
        }
        const std::uint64_t begin = to_byte(next->text, change.range->start, encoding_);
        const std::uint64_t end = to_byte(next->text, change.range->end, encoding_);
        if (end < begin) {
            return fail(
                ErrorCode::invalid_argument,
                "change of " + params.text_document.uri + " has a range that ends before it starts",
                "documents");
        }
        next->text.replace(begin, end - begin, change.text);
    }
    next->version = params.text_document.version.value_or(next->version + 1);
    found->second = Entry{std::move(next), ++use_counter_};
    return {};
}

void Documents::close(const std::string& uri) {
    entries_.erase(uri);
}

assist::DocumentRef Documents::find(const std::string& uri) const {
    const auto found = entries_.find(uri);
    return found == entries_.end() ? nullptr : found->second.snapshot;
}

void Documents::touch(const std::string& uri, std::uint64_t byte) {
    const auto found = entries_.find(uri);
    if (found == entries_.end()) return;
    found->second.last_use = ++use_counter_;
    if (found->second.snapshot->last_cursor_byte == byte) return;
    auto next = std::make_shared<assist::Document>(*found->second.snapshot);
    next->last_cursor_byte = byte;
    found->second.snapshot = std::move(next);
}

std::vector<assist::DocumentRef> Documents::others(const std::string& uri) const {
    std::vector<const Entry*> order;
    for (const auto& [other, entry] : entries_) {
        if (other != uri) order.push_back(&entry);
    }
    std::sort(order.begin(), order.end(), [](const Entry* a, const Entry* b) {
        return a->last_use > b->last_use;
    });
    std::vector<assist::DocumentRef> documents;
    documents.reserve(order.size());
    for (const Entry* entry : order) {
        documents.push_back(entry->snapshot);
    }
    return documents;
}

std::string Documents::display_path(const std::string& uri) const {
    for (const std::string& root : root_uris_) {
        if (root.empty() || uri.compare(0, root.size(), root) != 0) continue;
        const std::size_t begin = root.back() == '/' ? root.size() : root.size() + 1;
        if (uri.size() > begin && uri[begin - 1] == '/')
            return clean(decode_percent(uri.substr(begin)));
    }
    constexpr int kPartsShown = 3;
    constexpr std::string_view kFileScheme = "file://";
    std::string_view path = uri;
    if (path.substr(0, kFileScheme.size()) == kFileScheme) path.remove_prefix(kFileScheme.size());
    std::size_t begin = path.size();
    for (int i = 0; i < kPartsShown && begin != 0; ++i) {
        const std::size_t slash = path.rfind('/', begin - 1);
        begin = slash == std::string_view::npos ? 0 : slash;
    }
    path.remove_prefix(begin);
    while (!path.empty() && path.front() == '/') {
        path.remove_prefix(1);
    }
    return clean(decode_percent(path));
}

}  // namespace hearth::lsp
