// What every fuzz target has: `LLVMFuzzerTestOneInput`, which takes any bytes and aborts where a
// promise is broken, and `seeds()`, inputs that it understands, made by code. Under HEARTH_FUZZ
// libFuzzer drives it (libfuzzer_seeds.cpp); in every other build a plain program does
// (smoke_main.cpp).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/assert.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace hearth::fuzz {

/// Where mutations start. Deterministic; none is longer than kInputBytesMax.
std::vector<std::string> seeds();

/// The -max_len of every target; seeds beyond it would be cut.
inline constexpr std::size_t kInputBytesMax = 8192;

inline std::string_view to_text(const std::uint8_t* data, std::size_t size) {
    return {reinterpret_cast<const char*>(data), size};
}

inline std::string to_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Takes an input apart, front to back; what is not there any more is 0 or empty.
class Input {
  public:
    explicit Input(std::string_view bytes) : rest_(bytes) {}

    [[nodiscard]] bool is_empty() const { return rest_.empty(); }
    [[nodiscard]] std::string_view rest() const { return rest_; }

    std::uint8_t byte() {
        const std::string_view one = take(1);
        return one.empty() ? std::uint8_t{0} : static_cast<std::uint8_t>(one[0]);
    }
    /// Mostly small; now and then one of the whole range.
    std::uint32_t number() {
        const std::uint32_t small = byte();
        if (small < 0xF0) return small;
        std::uint32_t value = small & 1U;
        for (int i = 0; i < 4; ++i) {
            value = value << 8 | byte();
        }
        return value;
    }
    /// A byte that says how long, and the bytes.
    std::string_view text() { return take(byte()); }

  private:
    std::string_view take(std::size_t bytes) {
        const std::string_view taken = rest_.substr(0, bytes);
        rest_.remove_prefix(taken.size());
        return taken;
    }

    std::string_view rest_;
};

}  // namespace hearth::fuzz
