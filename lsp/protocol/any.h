// LspAny: a JSON value that is carried but not looked into. Outside lsp/protocol it is opaque.
#pragma once

#include <memory>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace hearth::lsp {

/// Immutable and shared; copies are cheap and never walk the value. A default one is "absent".
class LspAny {
  public:
    LspAny() = default;
    explicit LspAny(std::shared_ptr<const nlohmann::json> value) : value_(std::move(value)) {}

    /// The JSON value null, which is present.
    static LspAny null();

    [[nodiscard]] bool is_absent() const { return value_ == nullptr; }
    /// For lsp/protocol only.
    [[nodiscard]] const nlohmann::json* get() const { return value_.get(); }

    friend bool operator==(const LspAny& a, const LspAny& b);

  private:
    std::shared_ptr<const nlohmann::json> value_;
};

}  // namespace hearth::lsp
