#include "core/compute/plan.h"

#include <utility>

namespace hearth::compute {

Slice Plan::add_value(std::string name, std::int64_t dim, Dtype dtype) {
    values.push_back(Value{std::move(name), dim, dtype});
    return Slice{static_cast<ValueId>(values.size() - 1), 0, dim};
}

}  // namespace hearth::compute
