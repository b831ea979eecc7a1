// TextCollector: a sink that keeps what it is given, as long as the query is wanted.
#pragma once

#include <string>
#include <string_view>

#include "core/assist/query_context.h"

namespace hearth::assist {

class TextCollector final : public plugin_host::PieceSink {
  public:
    /// `query` outlives it.
    explicit TextCollector(const QueryContext& query) : query_(query) {}
    bool emit(std::uint32_t /*item*/, std::string_view piece) override {
        text_ += piece;
        return !query_.is_cancelled();
    }
    [[nodiscard]] std::string& text() { return text_; }

  private:
    const QueryContext& query_;
    std::string text_;
};

}  // namespace hearth::assist
