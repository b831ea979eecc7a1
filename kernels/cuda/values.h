// The activations of a Plan in device memory: as floats, and rounded where a product wants them so.
#pragma once

#include <functional>
#include <vector>

#include "core/compute/operands.h"
#include "core/compute/plan.h"
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/route.h"

namespace hearth::cuda {

class Values {
  public:
    Values(const compute::Plan& plan, Workspace& workspace);

    [[nodiscard]] FloatRows floats(const compute::Slice& slice) const;
    [[nodiscard]] IntRows ints(const compute::Slice& slice) const;

    /// What a kernel has written. `emitter`, where not null, is the argument by which the kernel
    /// that wrote all of the slice can be told to write it rounded too; it outlives the
    /// compilation.
    /// `norm`: where there is one token, nobody has written it, and readers norm this for
    /// themselves.
    void wrote(const compute::Slice& slice, Q8Rows* emitter = nullptr, const NormInput& norm = {});

    /// What a reader has to norm first where there is one token; x null: nothing.
    [[nodiscard]] NormInput norm_of(const compute::Slice& slice) const;

    /// The slice rounded. If no kernel has made it so, its writer is told to; where that cannot be,
    /// `quantise` adds a kernel that does.
    Q8Rows rounded(const compute::Slice& slice,
                   const std::function<void(const FloatRows&, const Q8Rows&)>& quantise);

  private:
    /// The present contents of a slice.
    struct Content {
        compute::Slice slice;
        Q8Rows* emitter = nullptr;
        NormInput norm = {};
        bool is_rounded = false;
    };
    /// Room for a slice's rounded form, kept for all its contents.
    struct Room {
        compute::Slice slice;
        Q8Rows rows;
    };

    Q8Rows room(const compute::Slice& slice);
    Content& content(const compute::Slice& slice);

    const compute::Plan& plan_;
    Workspace& workspace_;
    std::vector<std::byte*> memory_;  ///< by value: (tokens_max, dim)
    std::vector<Content> contents_;
    std::vector<Room> rooms_;
};

}  // namespace hearth::cuda
