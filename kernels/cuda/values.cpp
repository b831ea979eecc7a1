#include "kernels/cuda/values.h"

#include <algorithm>

namespace hearth::cuda {

Values::Values(const compute::Plan& plan, Workspace& workspace)
    : plan_(plan),
      workspace_(workspace) {
    constexpr std::int64_t kBytes = 4;  // of a float and of an expert's number
    for (const compute::Value& value : plan.values) {
        memory_.push_back(workspace.take<std::byte>(plan.tokens_max * value.dim * kBytes));
    }
}

FloatRows Values::floats(const compute::Slice& slice) const {
    const auto id = static_cast<std::size_t>(slice.id);
    auto* base = reinterpret_cast<float*>(memory_[id]);
    return {base == nullptr ? nullptr : base + slice.offset, plan_.values[id].dim};
}

IntRows Values::ints(const compute::Slice& slice) const {
    const auto id = static_cast<std::size_t>(slice.id);
    auto* base = reinterpret_cast<std::int32_t*>(memory_[id]);
    return {base == nullptr ? nullptr : base + slice.offset, plan_.values[id].dim};
}

void Values::wrote(const compute::Slice& slice, Q8Rows* emitter, const NormInput& norm) {
    std::erase_if(contents_, [&](const Content& each) { return overlap(each.slice, slice); });
    contents_.push_back({slice, emitter, norm, false});
}

NormInput Values::norm_of(const compute::Slice& slice) const {
    const auto found = std::ranges::find_if(
        contents_, [&](const Content& each) { return is_same(each.slice, slice); });
    return found == contents_.end() ? NormInput{} : found->norm;
}

Values::Content& Values::content(const compute::Slice& slice) {
    for (Content& each : contents_) {
        if (is_same(each.slice, slice)) return each;
    }
    return contents_.emplace_back(Content{.slice = slice});
}

Q8Rows Values::room(const compute::Slice& slice) {
    for (const Room& each : rooms_) {
        if (is_same(each.slice, slice)) return each.rows;
    }
    const std::int64_t rows = plan_.tokens_max;
    const Q8Rows made{.quants = workspace_.take<std::int8_t>(rows * slice.dim),
                      .scales = workspace_.take<Q8Scale>(rows * slice.dim / kChunkWeights),
                      .columns = static_cast<std::int32_t>(slice.dim)};
    rooms_.push_back({slice, made});
    return made;
}

Q8Rows Values::rounded(const compute::Slice& slice,
                       const std::function<void(const FloatRows&, const Q8Rows&)>& quantise) {
    const Q8Rows rows = room(slice);
    Content& present = content(slice);
    if (!present.is_rounded) {
        present.is_rounded = true;
        if (present.emitter != nullptr) {
            *present.emitter = rows;
        } else {
            quantise(floats(slice), rows);
        }
    }
    return rows;
}

}  // namespace hearth::cuda
