"""The forward pass of deepseek2 as our engine computes it: latent attention, sigmoid-gated experts, tied head."""

import math

import torch
import torch.nn.functional as F

import experts
from rounding import Rounded
from shape import layout

HEAD_ROWS = 8192  # tokens whose logits exist at one time
ATTENTION = ("attn_norm", "attn_q_a", "attn_q_a_norm", "attn_q_b", "attn_kv_a_mqa", "attn_kv_a_norm", "attn_k_b",
             "attn_v_b", "attn_output")  # fmt: skip
DENSE = ("ffn_norm", "ffn_gate", "ffn_up", "ffn_down")
BEFORE_EXPERTS = ("ffn_norm", "ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp", "ffn_gate_inp")
EXPERTS = ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps")


def initial_weights(shape, seed):
    """One flat float32 tensor in the order of the layout: the rules of training/trainer/parameters.cpp."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for parameter in layout(shape):
        part = torch.zeros(parameter.elements)
        if parameter.kind == "norm":
            part.fill_(1.0)
        elif parameter.kind != "routing_bias" and not parameter.starts_at_zero:
            deviation = 1 / math.sqrt(parameter.columns) if parameter.kind == "matrix" else 0.02
            part.normal_(0.0, deviation, generator=generator)
        parts.append(part)
    return torch.cat(parts)


def views(shape, flat):
    """{name: (view, parameter)} into one flat tensor."""
    found = {}
    offset = 0
    for parameter in layout(shape):
        part = flat[offset : offset + parameter.elements]
        sizes = [parameter.count, parameter.rows, parameter.columns]
        if parameter.kind in ("norm", "routing_bias"):
            sizes = sizes[2:]
        elif parameter.count == 1:
            sizes = sizes[1:]
        found[parameter.name] = (part.view(sizes), parameter)
        offset += parameter.elements
    return found


class Model:
    """Functions over weights that it does not own. `compute` is the type of products and activations."""

    def __init__(self, shape, device, compute, log=lambda line: None):
        self.shape = shape
        self.device = device
        self.compute = compute
        self.product = experts.pick_product(device, compute, log)
        self._plain = {
            "attention": self._attention, "dense": self._dense, "before_experts": self._before_experts,
            "gated": experts.gated, "weighed": experts.weighed,
        }  # fmt: skip
        self._compiled = {}
        self._score_rows = score_rows
        self._angles = {}

    def compile(self):
        """Compiles what has fixed shapes, for training alone: sorting, grouped products and rounding stay as they are."""
        self._compiled = {name: torch.compile(part, dynamic=False) for name, part in self._plain.items()}
        self._score_rows = torch.compile(score_rows, dynamic=False)

    def _part(self, name):
        # Other graphs would be compiled for passes without gradients, which are few.
        return self._compiled.get(name, self._plain[name]) if torch.is_grad_enabled() else self._plain[name]

    def prepared(self, weights, rounded):
        """Weights in the compute type. Experts are rounded first where `rounded`."""
        ready = {}
        for name, (weight, parameter) in weights.items():
            if parameter.is_routed_expert and rounded:
                weight = Rounded.apply(weight)
            is_exact = parameter.kind in ("router", "routing_bias", "norm")
            ready[name] = weight if is_exact else weight.to(self.compute)
        return ready

    def hidden(self, ready, tokens):
        """tokens (B, T) to the normed rows (B * T, d) that the head scores, and the load of each expert layer."""
        x = F.embedding(tokens, ready["token_embd.weight"])
        loads = []
        for layer in range(self.shape.layer_count):
            x, load = self.layer(ready, layer, x.view(*tokens.shape, self.shape.hidden_dim))
            loads += [] if load is None else [load]
        rows = rms_norm(x, ready["output_norm.weight"], self.shape.norm_epsilon)
        return rows, torch.stack(loads) if loads else None

    def layer(self, ready, layer, x):
        """x (B, T, d) to (B * T, d), and the load of its experts if it has any."""
        s = self.shape

        def weights_of(names):
            return [ready[f"blk.{layer}.{name}.weight"] for name in names]

        x = self._part("attention")(weights_of(ATTENTION), x, *self._rotation(x.shape[1]))
        x = x.reshape(-1, s.hidden_dim)
        if layer < s.dense_layer_count:
            return self._part("dense")(weights_of(DENSE), x), None
        bias = ready[f"blk.{layer}.exp_probs_b.bias"].detach()
        rows, base, chosen, shares = self._part("before_experts")(weights_of(BEFORE_EXPERTS), bias, x)
        out, load = experts.routed_experts(rows, chosen, weights_of(EXPERTS), self.product, self._part("gated"))
        return self._part("weighed")(out, shares, base), load

    def logits(self, weights, tokens, rounded=False):
        """(B * T, vocabulary), for comparison."""
        with torch.no_grad():
            ready = self.prepared(weights, rounded)
            rows, _ = self.hidden(ready, tokens)
            return rows.float() @ ready["token_embd.weight"].float().t()

    def loss(self, weights, tokens, targets, rounded, z_loss, worth=None):
        """Mean cross-entropy in nats of targets that are not negative (plus z-loss), weighed by `worth` (as targets;
        None: all alike), and the experts' load."""
        ready = self.prepared(weights, rounded)
        rows, load = self.hidden(ready, tokens)
        return self.scored(rows, ready["token_embd.weight"], targets, z_loss, worth), load

    def scored(self, rows, embedding, targets, z_loss, worth):
        """The loss of rows (N, d); targets and worth as above."""
        score = self._score_rows if torch.is_grad_enabled() else score_rows
        targets = targets.reshape(-1)
        worth = (targets >= 0).float() if worth is None else worth.reshape(-1) * (targets >= 0)
        worth = worth / worth.sum().clamp_min(1)
        return ChunkedLoss.apply(rows, embedding, targets, worth, z_loss, score)

    def _attention(self, weights, x, cosine, sine):
        norm, query_a, query_norm, query_b, latent_a, latent_norm, key_b, value_b, output = weights
        s = self.shape
        batch, length, _ = x.shape
        h = rms_norm(x, norm, s.norm_epsilon)
        query = rms_norm(h @ query_a.t(), query_norm, s.norm_epsilon)
        query = (query @ query_b.t()).view(batch, length, s.head_count, s.head_dim)
        latent = h @ latent_a.t()
        normed = rms_norm(latent[..., : s.latent_rank], latent_norm, s.norm_epsilon)
        rotated_key = rotate(latent[..., s.latent_rank :].unsqueeze(2), cosine, sine)
        key_b = key_b.permute(1, 0, 2).reshape(s.latent_rank, s.head_count * s.nope_dim)
        key = (normed @ key_b).view(batch, length, s.head_count, s.nope_dim)
        value = normed @ value_b.reshape(s.head_count * s.value_dim, s.latent_rank).t()
        value = value.view(batch, length, s.head_count, s.value_dim)
        query = torch.cat((query[..., : s.nope_dim], rotate(query[..., s.nope_dim :], cosine, sine)), dim=-1)
        key = torch.cat((key, rotated_key.expand(-1, -1, s.head_count, -1)), dim=-1)
        mixed = causal_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
        mixed = mixed.transpose(1, 2).reshape(batch, length, s.head_count * s.value_dim)
        return x + mixed @ output.t()

    def _dense(self, weights, x):
        norm, gate, up, down = weights
        return x + _feed_forward(rms_norm(x, norm, self.shape.norm_epsilon), gate, up, down)

    def _before_experts(self, weights, bias, x):
        """x (N, d): the rows that experts read, what their sum is added to, who is chosen and with which share."""
        norm, gate, up, down, router = weights
        s = self.shape
        rows = rms_norm(x, norm, s.norm_epsilon)
        scores = torch.sigmoid(rows.float() @ router.t())
        chosen, shares = experts.route(scores, bias, s.experts_per_token, s.expert_weights_scale)
        return rows, x + _feed_forward(rows, gate, up, down), chosen, shares

    def _rotation(self, length):
        if length not in self._angles:
            s = self.shape
            pairs = torch.arange(s.rope_dim // 2, dtype=torch.float64)
            frequencies = s.rope_base ** (-2.0 * pairs / s.rope_dim)
            angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
            cosine, sine = angles.cos().float().to(self.device), angles.sin().float().to(self.device)
            self._angles[length] = (cosine[:, None, :], sine[:, None, :])
        return self._angles[length]


def rms_norm(x, weight, epsilon):
    """In float32 whatever x is."""
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + epsilon) * weight.float()).to(x.dtype)


def rotate(x, cosine, sine):
    """Neighbouring elements of the last axis as pairs, turned by the angle of their position (axis 1)."""
    even, odd = x[..., 0::2].float(), x[..., 1::2].float()
    turned = torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), dim=-1)
    return turned.flatten(-2).to(x.dtype)


def causal_attention(query, key, value):
    """(B, H, T, head_dim) twice and (B, H, T, value_dim)."""
    if not hasattr(F, "scaled_dot_product_attention"):
        length = query.shape[2]
        scores = query.float() @ key.float().transpose(2, 3) / math.sqrt(query.shape[3])
        mask = torch.ones(length, length, dtype=torch.bool, device=query.device).triu(1)
        return (scores.masked_fill(mask, float("-inf")).softmax(dim=-1) @ value.float()).to(value.dtype)
    # The fused kernel wants values as wide as keys.
    width = value.shape[3]
    padded = F.pad(value, (0, query.shape[3] - width))
    return F.scaled_dot_product_attention(query, key, padded, is_causal=True)[..., :width]


def _feed_forward(x, gate, up, down):
    return (F.silu(x @ gate.t()) * (x @ up.t())) @ down.t()


def score_rows(logits, goal, weight, z_loss):
    """(weighed sum of cross-entropy, gradient of that and of the z-loss by the logits in their type)."""
    wide = logits.float()
    partition = wide.logsumexp(dim=1)
    loss = ((partition - wide.gather(1, goal).squeeze(1)) * weight).sum()
    gradient = (wide - partition.unsqueeze(1)).exp() * (weight * (1 + 2 * z_loss * partition)).unsqueeze(1)
    is_goal = torch.arange(wide.shape[1], device=wide.device).unsqueeze(0) == goal
    gradient = gradient - torch.where(is_goal, weight.unsqueeze(1), torch.zeros_like(weight).unsqueeze(1))
    return loss, gradient.to(logits.dtype)


class ChunkedLoss(torch.autograd.Function):
    """Sum of worth * (cross-entropy + z_loss * log-partition^2); logits of a few rows at a time, gradients at once."""

    @staticmethod
    def forward(ctx, rows, embedding, targets, worth, z_loss, score):
        total = torch.zeros((), device=rows.device)
        d_rows = torch.empty_like(rows)
        d_embedding = torch.zeros(embedding.shape, device=rows.device)
        for begin in range(0, rows.shape[0], HEAD_ROWS):
            part = slice(begin, begin + HEAD_ROWS)
            goal = targets[part].clamp_min(0).unsqueeze(1)
            loss, gradient = score(rows[part] @ embedding.t(), goal, worth[part], z_loss)
            total += loss
            if ctx.needs_input_grad[0]:
                d_rows[part] = gradient @ embedding
            if ctx.needs_input_grad[1]:
                d_embedding += gradient.t() @ rows[part]
        ctx.save_for_backward(d_rows, d_embedding)
        ctx.embedding_type = embedding.dtype
        return total

    @staticmethod
    def backward(ctx, upstream):
        d_rows, d_embedding = ctx.saved_tensors
        embedding_gradient = (d_embedding * upstream).to(ctx.embedding_type)
        return d_rows * upstream.to(d_rows.dtype), embedding_gradient, None, None, None, None
