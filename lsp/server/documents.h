// The documents that one editor has open: applied changes, snapshots for requests, what was used
// last.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/assist/document.h"
#include "core/base/result.h"
#include "lsp/protocol/text_sync.h"
#include "lsp/server/positions.h"

namespace hearth::lsp {

inline constexpr std::size_t kOpenDocumentsMax = 512;  ///< per connection; further ones are refused

/// Thread: io.
class Documents {
  public:
    void set_encoding(PositionEncoding encoding) { encoding_ = encoding; }
    /// Paths are shown to the model relative to these folders.
    void set_roots(std::vector<std::string> root_uris) { root_uris_ = std::move(root_uris); }

    /// Errors: too_large (kOpenDocumentsMax are open).
    Result<void> open(TextDocumentItem item);
    /// Applies the changes in order.   Errors: not_found (not open), invalid_argument (a range that
    /// ends before it starts); the document stays as it was.
    Result<void> change(const DidChangeTextDocumentParams& params);
    void close(const std::string& uri);

    /// Null when it is not open.
    [[nodiscard]] assist::DocumentRef find(const std::string& uri) const;
    /// Notes that the user asked for something at `byte`.
    void touch(const std::string& uri, std::uint64_t byte);
    /// All but `uri`, most recently used first.
    [[nodiscard]] std::vector<assist::DocumentRef> others(const std::string& uri) const;

    [[nodiscard]] PositionEncoding encoding() const { return encoding_; }
    /// `uri` as the model is told about it: below a root the rest, else the last three folders.
    [[nodiscard]] std::string display_path(const std::string& uri) const;

  private:
    struct Entry {
        assist::DocumentRef snapshot;
        std::uint64_t last_use = 0;
    };

    PositionEncoding encoding_ = PositionEncoding::utf16;
    std::vector<std::string> root_uris_;
    std::map<std::string, Entry> entries_;
    std::uint64_t use_counter_ = 0;
};

}  // namespace hearth::lsp
