#include "kernels/cuda/operands.h"

#include <variant>

namespace hearth::cuda {
namespace {

using compute::Slice;
using Slices = std::vector<Slice>;

struct Reads {
    Slices operator()(const compute::Embed& /*op*/) const { return {}; }
    Slices operator()(const compute::RmsNorm& op) const { return {op.x}; }
    Slices operator()(const compute::Project& op) const { return {op.x, op.residual}; }
    Slices operator()(const compute::Rope& op) const { return {op.x}; }
    Slices operator()(const compute::AttentionGqa& op) const { return {op.q, op.k, op.v}; }
    Slices operator()(const compute::AttentionMla& op) const { return {op.q, op.latent}; }
    Slices operator()(const compute::RouteTopK& op) const { return {op.logits}; }
    Slices operator()(const compute::Experts& op) const {
        return {op.x, op.experts, op.weights, op.residual};
    }
    Slices operator()(const compute::Swiglu& op) const { return {op.gate, op.up}; }
    Slices operator()(const compute::Add& op) const { return {op.a, op.b}; }
    Slices operator()(const compute::Logits& op) const { return {op.x}; }
};

struct Writes {
    Slices operator()(const compute::Rope& op) const { return {op.x}; }
    Slices operator()(const compute::RouteTopK& op) const { return {op.experts, op.weights}; }
    Slices operator()(const compute::Logits& /*op*/) const { return {}; }
    template <typename Other>
    Slices operator()(const Other& op) const {
        return {op.out};
    }
};

}  // namespace

std::vector<Slice> reads_of(const compute::Operation& operation) {
    return std::visit(Reads{}, operation);
}

std::vector<Slice> writes_of(const compute::Operation& operation) {
    return std::visit(Writes{}, operation);
}

bool overlap(const Slice& a, const Slice& b) {
    return a.id == b.id && a.offset < b.offset + b.dim && b.offset < a.offset + a.dim;
}

bool is_same(const Slice& a, const Slice& b) {
    return a.id == b.id && a.offset == b.offset && a.dim == b.dim;
}

bool covers(const Slice& whole, const Slice& part) {
    return whole.id == part.id && whole.offset <= part.offset &&
           whole.offset + whole.dim >= part.offset + part.dim;
}

}  // namespace hearth::cuda
