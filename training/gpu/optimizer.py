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
        self._by_shape = collections.defaultdict(list)  # (short side, long side) -> places of matrices
        self._others = []
        offset = 0
        for parameter in parameters:
            size = parameter.rows * parameter.columns
            if parameter.kind == "matrix":
                sides = tuple(sorted((parameter.rows, parameter.columns)))
                is_tall = parameter.rows > parameter.columns
                places = [(offset + i * size, is_tall) for i in range(parameter.count)]
                self._by_shape[sides] += places
            elif parameter.kind != "routing_bias":
                self._others.append((offset, parameter.elements, parameter.kind))
            offset += parameter.elements

    def update(self, weights, gradients, matrix_rate, adam_rate, gradient_scale):
        """`gradient_scale` may be a tensor: nothing here waits for the device."""
        self.steps += 1
        for sides, places in self._by_shape.items():
            size = sides[0] * sides[1]
            at_once = max(1, STACK_ELEMENTS_MAX // size)
            for begin in range(0, len(places), at_once):
                self._muon(weights, gradients, sides, places[begin : begin + at_once], matrix_rate, gradient_scale)
        for offset, size, kind in self._others:
            self._adam(weights, gradients, slice(offset, offset + size), kind, adam_rate, gradient_scale)

    def _muon(self, weights, gradients, sides, places, rate, gradient_scale):
        size = sides[0] * sides[1]

        def stacked(flat):
            parts = []
            for offset, is_tall in places:
                part = flat[offset : offset + size]
                parts.append(part.view(sides[1], sides[0]).t() if is_tall else part.view(sides))
            return torch.stack(parts)

        gradient = stacked(gradients) * gradient_scale
        momentum = stacked(self.moments[0]).mul_(MOMENTUM).add_(gradient)
        update = orthogonalised(gradient + MOMENTUM * momentum)
        scale = rate * UPDATE_RMS * sides[1] ** 0.5
        for i, (offset, is_tall) in enumerate(places):
            part = slice(offset, offset + size)
            flat_update, flat_momentum = update[i], momentum[i]
            if is_tall:
                flat_update, flat_momentum = flat_update.t(), flat_momentum.t()
            self.moments[0][part] = flat_momentum.reshape(-1)
            weights[part] = weights[part] * (1 - rate * WEIGHT_DECAY) - scale * flat_update.reshape(-1)

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
