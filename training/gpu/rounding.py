"""Experts rounded to Q4_0 as the file will hold them, bit for bit (kernels/reference/quantize.cpp, encode_q4_0)."""

import torch

BLOCK = 32


def round_q4_0(weights):
    """The values that a Q4_0 file gives back for `weights` (float32, a multiple of 32 elements).

    Multiplication and addition are two steps on purpose: a fused one rounds differently. Do not compile.
    """
    blocks = weights.detach().reshape(-1, BLOCK)
    magnitude = blocks.abs()
    largest = magnitude.amax(dim=1, keepdim=True)
    # The first of equals: argmax does not promise that on every device.
    places = torch.arange(BLOCK, device=blocks.device).expand_as(blocks)
    first = torch.where(magnitude == largest, places, torch.full_like(places, BLOCK)).amin(dim=1, keepdim=True)
    step = blocks.gather(1, first) / -8.0
    inverse = torch.where(step != 0, 1.0 / step, torch.zeros_like(step))
    scaled = blocks * inverse
    quants = torch.clamp(torch.trunc(scaled + 8.5), 0.0, 15.0)
    stored_step = step.half().float()
    return (stored_step * (quants - 8.0)).reshape(weights.shape)


class Rounded(torch.autograd.Function):
    """The rounded weights; the gradient passes as if there were no rounding."""

    @staticmethod
    def forward(ctx, weights):
        return round_q4_0(weights)

    @staticmethod
    def backward(ctx, gradient):
        return gradient
