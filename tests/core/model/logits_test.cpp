// The acceptance of core/model and kernels/reference together: logits of known models.
#include <catch2/catch.hpp>

#include "kernels/reference/reference_backend.h"
#include "tests/support/logits_reference.h"
#include "tests/support/model_runner.h"

namespace hearth::model {
namespace {

TEST_CASE("the reference backend's logits are those of an independent engine", "[model][logits]") {
    if (!test::has_logits_reference(HEARTH_SOURCE_DIR)) return;
    const auto backend = reference::make_reference_backend();
    for (const std::string& name : test::logits_models()) {
        const auto distances = test::distances_to_reference(HEARTH_SOURCE_DIR, name, *backend);
        INFO(name);
        CHECK(distances.size() == 16);
        CHECK(test::median(distances) <= 0.003);
    }
}

}  // namespace
}  // namespace hearth::model
