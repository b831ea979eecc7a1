#include <cstddef>
#include <type_traits>
#include <vector>

#include <catch2/catch.hpp>

#include "plugins/abi/hearth/hearth.h"

extern "C" {
extern const std::size_t kAbiSizes[];
extern const std::size_t kAbiSizeCount;
}

namespace hearth {
namespace {

TEST_CASE("C and C++ see the same structs", "[plugins][abi]") {
    const std::vector<std::size_t> sizes = {
        sizeof(hearth_version),
        sizeof(hearth_text),
        sizeof(hearth_range),
        sizeof(hearth_document),
        sizeof(hearth_diagnostic),
        sizeof(hearth_selection),
        sizeof(hearth_job),
        sizeof(hearth_host),
        sizeof(hearth_plugin),
        sizeof(hearth_descriptor),
        sizeof(hearth_plugin_factory),
        sizeof(hearth_entry),
        sizeof(hearth_action),
        sizeof(hearth_part),
        sizeof(hearth_infill_options),
        offsetof(hearth_document, cursor_byte),
        offsetof(hearth_action, range),
        offsetof(hearth_diagnostic, message),
    };
    CHECK(sizes == std::vector<std::size_t>(kAbiSizes, kAbiSizes + kAbiSizeCount));
}

TEST_CASE("a status is 32 bits with the numbers that the border promises", "[plugins][abi]") {
    CHECK(std::is_same_v<hearth_status, std::int32_t>);
    CHECK(HEARTH_OK == 0);
    CHECK(HEARTH_CANCELLED == 1);
    CHECK(HEARTH_UNSUPPORTED == 2);
    CHECK(HEARTH_FAILED == 3);
}

}  // namespace
}  // namespace hearth
