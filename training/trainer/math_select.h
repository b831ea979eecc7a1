// Which Math table this machine gets: the widest that the processor has and that agrees with the
// portable product.
#pragma once

#include <string_view>

#include "core/base/log.h"
#include "core/base/result.h"
#include "training/trainer/math_table.h"

namespace hearth::trainer {

/// True when `math` gives the portable product, within `tolerance` of its largest value, on small
/// odd shapes in all three forms.
bool agrees_with_portable(const Math<float>& math, float tolerance);

/// The best table, or the one called `name` ("portable", "avx2", ...; empty: the best). A table
/// that fails its check is passed over with a warning. Errors: not_found (no such name),
/// unsupported (not on this processor).
Result<const Math<float>*> select_math(std::string_view name, Log& log);

}  // namespace hearth::trainer
