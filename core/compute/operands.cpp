#include "core/compute/operands.h"

#include <variant>

namespace hearth::compute {
namespace {

using Slices = std::vector<Slice>;

struct Reads {
    Slices operator()(const Embed& /*op*/) const { return {}; }
    Slices operator()(const RmsNorm& op) const { return {op.x}; }
    Slices operator()(const Project& op) const { return {op.x, op.residual}; }
    Slices operator()(const Rope& op) const { return {op.x}; }
    Slices operator()(const AttentionGqa& op) const { return {op.q, op.k, op.v}; }
    Slices operator()(const AttentionMla& op) const { return {op.q, op.latent}; }
    Slices operator()(const RouteTopK& op) const { return {op.logits}; }
    Slices operator()(const Experts& op) const {
        return {op.x, op.experts, op.weights, op.residual};
    }
    Slices operator()(const Swiglu& op) const { return {op.gate, op.up}; }
    Slices operator()(const Add& op) const { return {op.a, op.b}; }
    Slices operator()(const Logits& op) const { return {op.x}; }
};

struct Writes {
    Slices operator()(const Rope& op) const { return {op.x}; }
    Slices operator()(const RouteTopK& op) const { return {op.experts, op.weights}; }
    Slices operator()(const Logits& /*op*/) const { return {}; }
    template <typename Other>
    Slices operator()(const Other& op) const {
        return {op.out};
    }
};

}  // namespace

std::vector<Slice> reads_of(const Operation& operation) {
    return std::visit(Reads{}, operation);
}

std::vector<Slice> writes_of(const Operation& operation) {
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

}  // namespace hearth::compute
