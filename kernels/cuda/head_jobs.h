// Finds what prepare_heads can do at once: the norms and rotations before an attention, and its
// rows of the cache. Plain matching over the Plan; tested without a device.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "core/compute/plan.h"

namespace hearth::cuda {

/// A HeadJob in the Plan's terms.
struct PlannedHeads {
    compute::Slice x;
    std::int64_t heads = 0, head_dim = 0;
    const compute::RmsNorm* norm = nullptr;
    const compute::Rope* rope = nullptr;
    bool stores_key = false, stores_value = false;
    std::int64_t store_column = 0;
};

struct HeadsRun {
    std::vector<PlannedHeads> jobs;
    std::size_t attention = 0;  ///< the operation that ends the run
};

/// The run that begins with operation `first`: norms and rotations in place, then an attention.
/// Empty where there is none, or where one kernel cannot do it.
std::optional<HeadsRun> find_heads_run(const compute::Plan& plan, std::size_t first);

}  // namespace hearth::cuda
