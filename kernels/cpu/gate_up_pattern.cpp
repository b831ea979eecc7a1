#include "kernels/cpu/gate_up_pattern.h"

#include <variant>

#include "core/compute/operands.h"

namespace hearth::cpu {
namespace {

using compute::kNone;
using compute::Slice;

/// The columns of `slice` from its front on that a Project has written anew are no longer of
/// interest: layers of different widths share a value.
void drop_overwritten(Slice& slice, const compute::Operation& operation) {
    const auto* project = std::get_if<compute::Project>(&operation);
    if (project == nullptr || !overlap(project->out, slice)) return;
    if (project->out.offset > slice.offset) return;
    const std::int64_t end = slice.offset + slice.dim;
    slice.offset = project->out.offset + project->out.dim;
    slice.dim = end - slice.offset;
}

/// Whether what `slice` holds may be read by operation number `first` or a later one.
bool is_read_from(const compute::Plan& plan, std::size_t first, Slice slice) {
    for (std::size_t i = first; i < plan.operations.size() && slice.dim > 0; ++i) {
        for (const Slice& read : reads_of(plan.operations[i])) {
            if (overlap(read, slice)) return true;
        }
        drop_overwritten(slice, plan.operations[i]);
    }
    return false;
}

bool is_plain(const compute::Project& op) {
    return op.bias == kNone && op.residual.id == kNone;
}

}  // namespace

std::optional<GateUpPattern> find_gate_up(const compute::Plan& plan, std::size_t first) {
    const std::size_t end = first + GateUpPattern::kOperations;
    if (end > plan.operations.size()) return std::nullopt;
    const auto* gate = std::get_if<compute::Project>(&plan.operations[first]);
    const auto* up = std::get_if<compute::Project>(&plan.operations[first + 1]);
    const auto* swiglu = std::get_if<compute::Swiglu>(&plan.operations[first + 2]);
    if (gate == nullptr || up == nullptr || swiglu == nullptr) return std::nullopt;
    const Slice& out = swiglu->out;
    const bool fits = is_plain(*gate) && is_plain(*up) && is_same(gate->x, up->x) &&
                      is_same(swiglu->gate, gate->out) && is_same(swiglu->up, up->out) &&
                      !overlap(gate->out, up->out) && !overlap(out, gate->x);
    if (!fits) return std::nullopt;
    for (const Slice& between : {gate->out, up->out}) {
        if (!is_same(between, out) && is_read_from(plan, end, between)) return std::nullopt;
    }
    return GateUpPattern{*gate, *up, *swiglu};
}

}  // namespace hearth::cpu
