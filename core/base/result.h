// Result<T>: a value or an Error. The member names are those of std::expected, so that it can
// become that type. Ordinary answers ("no suggestion") are no errors: they are optionals, empty
// spans or enumerators.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "core/base/assert.h"

namespace hearth {

enum class ErrorCode {
    invalid_argument,  ///< the caller asked for something that cannot be
    not_found,         ///< a file, a tensor, a command that is not there
    io,                ///< the operating system said no
    corrupt,           ///< bytes that break their format
    unsupported,       ///< well formed, but not something hearth can do
    too_large,         ///< over a named limit
    out_of_memory,     ///< host or device memory is short
    unavailable,       ///< busy, full or shutting down: try again later
    timed_out,         ///< a deadline passed
    cancelled,         ///< the asker has gone
    device_lost,       ///< a device failed; this process cannot use it any more
    internal,          ///< a part failed in a way it should not
};

/// The code in words, as programs print it ("invalid argument").
constexpr const char* to_string(ErrorCode code) {
    switch (code) {
        case ErrorCode::invalid_argument:
            return "invalid argument";
        case ErrorCode::not_found:
            return "not found";
        case ErrorCode::io:
            return "input/output error";
        case ErrorCode::corrupt:
            return "corrupt data";
        case ErrorCode::unsupported:
            return "unsupported";
        case ErrorCode::too_large:
            return "too large";
        case ErrorCode::out_of_memory:
            return "out of memory";
        case ErrorCode::unavailable:
            return "unavailable";
        case ErrorCode::timed_out:
            return "timed out";
        case ErrorCode::cancelled:
            return "cancelled";
        case ErrorCode::device_lost:
            return "device lost";
        case ErrorCode::internal:
            return "internal error";
    }
    return "error";
}

/// What failed. `text` is for the user: what was tried, on what, what was found, what to do; it
/// starts small and ends without a full stop. `where` names the part ("gguf", "plugin complete").
struct Error {
    ErrorCode code = ErrorCode::internal;
    std::string text;
    std::string where = {};
};

/// Carries an Error into any Result: `return fail(ErrorCode::corrupt, "...", "gguf");`
struct Failure {
    Error error;
};

inline Failure fail(ErrorCode code, std::string text, std::string where = {}) {
    return Failure{Error{code, std::move(text), std::move(where)}};
}

inline Failure fail(Error error) {
    return Failure{std::move(error)};
}

template <typename T>
class [[nodiscard]] Result {
  public:
    using value_type = T;

    // Both conversions are the point of the type: `return value;` and `return fail(...)`.
    // NOLINTNEXTLINE(google-explicit-constructor): see above
    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    // NOLINTNEXTLINE(google-explicit-constructor): see above
    Result(Failure failure) : state_(std::in_place_index<1>, std::move(failure.error)) {}

    [[nodiscard]] bool has_value() const { return state_.index() == 0; }
    explicit operator bool() const { return has_value(); }

    [[nodiscard]] T& value() & { return checked(); }
    [[nodiscard]] const T& value() const& { return const_cast<Result*>(this)->checked(); }
    [[nodiscard]] T&& value() && { return std::move(checked()); }
    T& operator*() & { return checked(); }
    const T& operator*() const& { return value(); }
    T&& operator*() && { return std::move(checked()); }
    T* operator->() { return &checked(); }
    const T* operator->() const { return &value(); }

    [[nodiscard]] const Error& error() const& {
        HEARTH_ASSERT(!has_value());
        return *std::get_if<1>(&state_);
    }
    [[nodiscard]] Error&& error() && {
        HEARTH_ASSERT(!has_value());
        return std::move(*std::get_if<1>(&state_));
    }

    template <typename U>
    [[nodiscard]] T value_or(U&& other) && {
        return has_value() ? std::move(checked()) : static_cast<T>(std::forward<U>(other));
    }

  private:
    T& checked() {
        HEARTH_ASSERT(has_value());
        return *std::get_if<0>(&state_);
    }

    std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
  public:
    using value_type = void;

    Result() = default;
    // NOLINTNEXTLINE(google-explicit-constructor): `return fail(...);`
    Result(Failure failure) : error_(std::move(failure.error)) {}

    [[nodiscard]] bool has_value() const { return !error_.has_value(); }
    explicit operator bool() const { return has_value(); }
    void value() const { HEARTH_ASSERT(has_value()); }
    [[nodiscard]] const Error& error() const& {
        HEARTH_ASSERT(!has_value());
        return *error_;
    }
    [[nodiscard]] Error&& error() && {
        HEARTH_ASSERT(!has_value());
        return std::move(*error_);
    }

  private:
    std::optional<Error> error_;
};

}  // namespace hearth

#define HEARTH_CONCAT_INNER(a, b) a##b
#define HEARTH_CONCAT(a, b) HEARTH_CONCAT_INNER(a, b)

// NOLINTBEGIN(bugprone-macro-parentheses): a declaration cannot stand in parentheses
/// `HEARTH_TRY(auto file, open(path));` declares the value, or returns the error from the enclosing
/// function.
#define HEARTH_TRY(declaration, expression) \
    HEARTH_TRY_INNER(declaration, expression, HEARTH_CONCAT(hearth_result_, __LINE__))
#define HEARTH_TRY_INNER(declaration, expression, result)          \
    auto result = (expression);                                    \
    if (!result) return ::hearth::fail(std::move(result).error()); \
    declaration = std::move(result).value()
// NOLINTEND(bugprone-macro-parentheses)

/// `HEARTH_CHECK(validate(x));` returns the error of a Result<void> from the enclosing function.
#define HEARTH_CHECK(expression)                                      \
    do {                                                              \
        if (auto hearth_checked = (expression); !hearth_checked) {    \
            return ::hearth::fail(std::move(hearth_checked).error()); \
        }                                                             \
    } while (false)
