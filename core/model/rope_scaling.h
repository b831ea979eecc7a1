// RopeScaling: the rotation frequencies of a model with its context scaling worked in. Private to
// core/model.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/model/architecture.h"

namespace hearth::model {

/// The numbers under ARCHITECTURE.rope.
struct RopeScaling {
    enum class Type { none, linear, yarn };

    Type type = Type::none;
    double base = 10000.0;
    double factor = 1.0;            ///< context made longer by this
    double original_context = 0.0;  ///< yarn: tokens of the context that was trained
    double beta_fast = 32.0, beta_slow = 1.0;
    double attention_factor = 1.0;
    /// yarn: the model's mscale_all_dim. Files carry a tenth of it.
    double mscale_all_dim = 0.0;

    /// Errors: corrupt, unsupported (another kind of scaling, named).
    static Result<RopeScaling> read(const Metadata& metadata);

    /// YaRN's magnitude 1 + 0.1 * mscale * ln(factor); 1 without YaRN.   Source: Peng et al.,
    /// arXiv:2309.00071, section 3.4.
    [[nodiscard]] double magnitude(double mscale) const;
};

/// One frequency per pair of `dims` rotated columns.   Source: arXiv:2309.00071, section 3.2.
/// Errors: corrupt (odd `dims`).
Result<std::vector<float>> rope_frequencies(const RopeScaling& scaling, std::int64_t dims);

}  // namespace hearth::model
