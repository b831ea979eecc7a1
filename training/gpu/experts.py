"""Routed experts: tokens sorted by expert, then one grouped product for all experts.

Where torch has no grouped product, or where it does not agree with the plain loop, the loop serves.
"""

import torch
import torch.nn.functional as F

WEIGHT_SUM_MIN = 6.103515625e-5  # as readers of the file clamp it


def route(scores, bias, experts_per_token, scale):
    """(experts (N, k), weights (N, k)): best by score plus bias, weighted by the scores alone, normalised."""
    chosen = torch.topk(scores + bias, experts_per_token, dim=-1).indices
    weights = scores.gather(1, chosen)
    total = weights.sum(dim=-1, keepdim=True).clamp_min(WEIGHT_SUM_MIN)
    return chosen, weights / total * scale


class Order:
    """Where the rows of a sorted batch come from and go to."""

    def __init__(self, chosen, expert_count):
        self.k = chosen.shape[1]
        flat = chosen.reshape(-1)
        self.from_slot = torch.argsort(flat, stable=True)
        self.to_place = torch.empty_like(self.from_slot)
        self.to_place[self.from_slot] = torch.arange(flat.numel(), device=flat.device)
        self.from_row = torch.div(self.from_slot, self.k, rounding_mode="floor")
        self.load = torch.bincount(flat, minlength=expert_count)
        self.ends = torch.cumsum(self.load, 0).to(torch.int32)


class Spread(torch.autograd.Function):
    """(N, d) to (N * k, d), by expert. Backward gathers too: adding at random places would be slow and unrepeatable."""

    @staticmethod
    def forward(ctx, rows, order):
        ctx.order = order
        return rows.index_select(0, order.from_row)

    @staticmethod
    def backward(ctx, gradient):
        k = ctx.order.k
        return gradient.index_select(0, ctx.order.to_place).view(-1, k, gradient.shape[1]).sum(dim=1), None


class Gather(torch.autograd.Function):
    """(N * k, d) by expert back to (N, k, d)."""

    @staticmethod
    def forward(ctx, rows, order):
        ctx.order = order
        return rows.index_select(0, order.to_place).view(-1, order.k, rows.shape[1])

    @staticmethod
    def backward(ctx, gradient):
        flat = gradient.reshape(-1, gradient.shape[2])
        return flat.index_select(0, ctx.order.from_slot), None


def looped_product(rows, weights, ends):
    """rows (M, K) by expert, weights (E, N, K), ends (E): row i times the transposed matrix of its expert."""
    begin = 0
    parts = []
    for expert, end in enumerate(ends.tolist()):
        parts.append(rows[begin:end] @ weights[expert].t())
        begin = end
    return torch.cat(parts)


def grouped_product(rows, weights, ends):
    """The same by the grouped product of newer versions of torch."""
    product = getattr(F, "grouped_mm", None) or torch._grouped_mm  # pylint: disable=protected-access
    return product(rows, weights.transpose(1, 2), offs=ends)


def pick_product(device, dtype, log):
    """grouped_product where it is there and right, else looped_product."""
    if device.type != "cuda" or not (hasattr(F, "grouped_mm") or hasattr(torch, "_grouped_mm")):
        return looped_product
    try:
        difference = product_difference(grouped_product, device, dtype)
    except Exception as error:  # pylint: disable=broad-exception-caught  # whatever it is, the loop serves
        log(f"no grouped product: {type(error).__name__}: {str(error)[:200]}")
        return looped_product
    log(f"the grouped product differs from the loop by {difference:.2e}")
    return grouped_product if difference < 2e-2 else looped_product


def product_difference(product, device, dtype):
    """How far `product` and its gradients are from the loop's, relative, on uneven groups, one of them empty."""
    generator = torch.Generator().manual_seed(1)
    sizes = torch.tensor([97, 0, 38, 121])
    rows = torch.randn(int(sizes.sum()), 64, generator=generator).to(device, dtype)
    weights = torch.randn(4, 128, 64, generator=generator).to(device, dtype)
    ends = torch.cumsum(sizes, 0).to(device, torch.int32)
    results = []
    for each in (product, looped_product):
        a, b = rows.clone().requires_grad_(), weights.clone().requires_grad_()
        out = each(a, b, ends)
        (out.float() ** 2).sum().backward()
        results.append((out.detach().float(), a.grad.float(), b.grad.float()))
    pairs = list(zip(*results))
    if not all(torch.isfinite(found).all() for found, _ in pairs):
        return float("inf")
    return max(float((found - right).norm() / right.norm()) for found, right in pairs)


def gated(gate, up):
    return F.silu(gate) * up


def weighed(out, weights, base):
    """base (N, d) and the sum of the chosen experts' outputs (N, k, d) by their weights (N, k)."""
    return base + (out.float() * weights.unsqueeze(2)).sum(dim=1).to(base.dtype)


def routed_experts(rows, chosen, matrices, product, gate_with):
    """down(silu(gate(x)) * up(x)) of each chosen expert.   Returns (out (N, k, d), load (E)).   gate_with: gated."""
    gate, up, down = matrices
    order = Order(chosen, gate.shape[0])
    spread = Spread.apply(rows, order)
    inner = gate_with(product(spread, gate, order.ends), product(spread, up, order.ends))
    return Gather.apply(product(inner, down, order.ends), order), order.load
