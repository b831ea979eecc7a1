// A document as one request sees it: an immutable snapshot that crosses threads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace hearth::assist {

struct Document {
    std::string uri;
    std::string
        path;  ///< how the model is told about it: relative to the workspace where there is one
    std::string language;  ///< LSP's language id
    std::int64_t version = 0;
    std::string text;                    ///< UTF-8, line ends as in the file
    std::uint64_t last_cursor_byte = 0;  ///< where the user last asked for something, else 0
};

using DocumentRef = std::shared_ptr<const Document>;

}  // namespace hearth::assist
