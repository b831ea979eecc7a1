"""Muon for matrices, each expert and head its own, AdamW for the rest: the rules of training/trainer/optimizer.cpp.

Source of Muon's scale: Muon is Scalable for LLM Training, arXiv:2502.16982, sections 2.1 and 2.2.
"""

import collections

import torch

MOMENTUM = 0.95
UPDATE_RMS = 0.2  # of an AdamW update in practice
ROUTER_RATE = 0.1  # of the rate of the other AdamW parameters
WEIGHT_DECAY = 0.1
BETAS = (0.9, 0.95)
EPSILON = 1e-10
STACK_ELEMENTS_MAX = 1 << 25  # matrices that are made orthogonal at one time


def orthogonalised(matrices):
    """(n, rows, columns), rows <= columns: each replaced by nearly its orthogonal factor (five Newton-Schulz steps)."""
    x = matrices.to(torch.bfloat16) if matrices.is_cuda else matrices
    x = x / (x.float().flatten(1).norm(dim=1).view(-1, 1, 1) + 1e-20).to(x.dtype)
    for _ in range(5):
        gram = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * (gram @ gram)) @ x
    return x.float()


class Optimizer:
    """Updates flat weights in place from flat gradients. `moments` has two flat tensors; Muon uses the first."""

    def __init__(self, parameters, moments):
        self.moments = moments
        self.steps = 0
        self._by_shape = collections.defaultdict(list)  # (short side, long side) -> groups whose matrices go together
        self._others = []
        offset = 0
        for parameter in parameters:
            if parameter.kind == "matrix":
                self._add_matrices(parameter, offset)
            elif parameter.kind != "routing_bias":
                self._others.append((offset, parameter.elements, parameter.kind))
            offset += parameter.elements

    def _add_matrices(self, parameter, offset):
        """A group is a list of (offset, count, rows, columns)."""
        sides = tuple(sorted((parameter.rows, parameter.columns)))
        size = sides[0] * sides[1]
        groups = self._by_shape[sides]
        if not groups or sum(count for _, count, *_ in groups[-1]) + parameter.count > STACK_ELEMENTS_MAX // size:
            groups.append([])
        groups[-1].append((offset, parameter.count, parameter.rows, parameter.columns))

    def update(self, weights, gradients, matrix_rate, adam_rate, gradient_scale):
        """`gradient_scale` may be a tensor: nothing here waits for the device."""
        self.steps += 1
        for sides, groups in self._by_shape.items():
            for group in groups:
                self._muon(weights, gradients, sides, group, matrix_rate, gradient_scale)
        for offset, size, kind in self._others:
            self._adam(weights, gradients, slice(offset, offset + size), kind, adam_rate, gradient_scale)

    def _muon(self, weights, gradients, sides, group, rate, gradient_scale):
        def matrices(flat):
            for offset, count, rows, columns in group:
                part = flat[offset : offset + count * rows * columns].view(count, rows, columns)
                yield part.transpose(1, 2) if rows > columns else part

        gradient = torch.cat(list(matrices(gradients))) * gradient_scale
        momentum = torch.cat(list(matrices(self.moments[0]))).mul_(MOMENTUM).add_(gradient)
        update = orthogonalised(gradient + MOMENTUM * momentum)
        scale = rate * UPDATE_RMS * sides[1] ** 0.5
        begin = 0
        for kept, weight in zip(matrices(self.moments[0]), matrices(weights)):
            part = slice(begin, begin + len(weight))
            kept.copy_(momentum[part])
            weight.mul_(1 - rate * WEIGHT_DECAY).sub_(update[part], alpha=scale)
            begin += len(weight)

    def _adam(self, weights, gradients, part, kind, rate, gradient_scale):
        if kind == "router":
            rate = rate * ROUTER_RATE
        decay = 0.0 if kind == "norm" else WEIGHT_DECAY
        gradient = gradients[part] * gradient_scale
        first, second = self.moments[0][part], self.moments[1][part]
        first.mul_(BETAS[0]).add_(gradient, alpha=1 - BETAS[0])
        second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        mean = first / (1 - BETAS[0] ** self.steps)
        deviation = (second / (1 - BETAS[1] ** self.steps)).sqrt_().add_(EPSILON)
        weights[part].mul_(1 - rate * decay).sub_(rate * mean / deviation)


def update_routing_bias(biases, loads, rate):
    """Raises the bias of experts with less than their share of the tokens, lowers the others (arXiv:2408.15664).

    `biases`: one (experts) view per expert layer; `loads`: (layers, experts).
    """
    mean = loads.float().mean(dim=1, keepdim=True)
    for bias, direction in zip(biases, torch.sign(mean - loads.float())):
        bias += rate * direction
