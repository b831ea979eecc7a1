// Messages to the user, progress, documents to show.
#pragma once

#include "lsp/protocol/basic.h"
#include "lsp/protocol/rpc.h"

namespace hearth::lsp {

inline constexpr std::uint32_t kMessageError = 1;
inline constexpr std::uint32_t kMessageWarning = 2;
inline constexpr std::uint32_t kMessageInfo = 3;
inline constexpr std::uint32_t kMessageLog = 4;

/// window/showMessage and window/logMessage.
struct ShowMessageParams {
    std::uint32_t type = kMessageInfo;
    std::string message;

    friend bool operator==(const ShowMessageParams&, const ShowMessageParams&) = default;
};
struct ShowDocumentParams {
    std::string uri;
    std::optional<bool> take_focus;

    friend bool operator==(const ShowDocumentParams&, const ShowDocumentParams&) = default;
};
struct WorkDoneProgressCreateParams {
    ProgressToken token;

    friend bool operator==(const WorkDoneProgressCreateParams&,
                           const WorkDoneProgressCreateParams&) = default;
};
/// window/workDoneProgress/cancel.
using WorkDoneProgressCancelParams = WorkDoneProgressCreateParams;

struct WorkDoneProgressValue {
    std::string kind;  ///< "begin", "report", "end"
    std::optional<std::string> title;
    std::optional<bool> cancellable;
    std::optional<std::string> message;

    friend bool operator==(const WorkDoneProgressValue&, const WorkDoneProgressValue&) = default;
};
struct ProgressParams {
    ProgressToken token;
    WorkDoneProgressValue value;

    friend bool operator==(const ProgressParams&, const ProgressParams&) = default;
};
struct CancelParams {
    RequestId id;

    friend bool operator==(const CancelParams&, const CancelParams&) = default;
};

}  // namespace hearth::lsp
