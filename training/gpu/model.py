"""The forward pass of deepseek2 as our engine computes it: latent attention, sigmoid-gated experts, tied head."""

import math

import torch
import torch.nn.functional as F

import experts
from rounding import Rounded
from shape import layout

HEAD_ROWS = 8192  # tokens whose logits exist at one time


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
        self.attention = self._attention  # may be replaced by its compiled twin
        self.feed_forward = _feed_forward
        self._angles = {}

    def compile(self):
        """Compiles what has fixed shapes: attention and the dense feed-forward. Rounding and routing stay."""
        self.attention = torch.compile(self._attention, dynamic=False)
        self.feed_forward = torch.compile(_feed_forward, dynamic=False)

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
        s = self.shape
        cosine, sine = self._rotation(tokens.shape[1])
        x = F.embedding(tokens, ready["token_embd.weight"])
        loads = []
        for layer in range(s.layer_count):
            w = {name[len(f"blk.{layer}.") :]: ready[name] for name in ready if name.startswith(f"blk.{layer}.")}
            x = x + self.attention(w, x, cosine, sine)
            h = rms_norm(x, w["ffn_norm.weight"], s.norm_epsilon)
            if layer < s.dense_layer_count:
                x = x + self.feed_forward(h, w["ffn_gate.weight"], w["ffn_up.weight"], w["ffn_down.weight"])
                continue
            shared = self.feed_forward(
                h, w["ffn_gate_shexp.weight"], w["ffn_up_shexp.weight"], w["ffn_down_shexp.weight"]
            )
            routed, load = self._experts(w, h.reshape(-1, s.hidden_dim))
            loads.append(load)
            x = x + shared + routed.view_as(x)
        x = rms_norm(x, ready["output_norm.weight"], s.norm_epsilon)
        return x.reshape(-1, s.hidden_dim), torch.stack(loads) if loads else None

    def logits(self, weights, tokens, rounded=False):
        """(B * T, vocabulary), for comparison."""
        with torch.no_grad():
            ready = self.prepared(weights, rounded)
            rows, _ = self.hidden(ready, tokens)
            return rows.float() @ ready["token_embd.weight"].float().t()

    def loss(self, weights, tokens, targets, rounded, z_loss):
        """Mean cross-entropy in nats of targets that are not negative (plus z-loss), and the experts' load."""
        ready = self.prepared(weights, rounded)
        rows, load = self.hidden(ready, tokens)
        return ChunkedLoss.apply(rows, ready["token_embd.weight"], targets.reshape(-1), z_loss), load

    def _experts(self, w, rows):
        s = self.shape
        scores = torch.sigmoid(rows.float() @ w["ffn_gate_inp.weight"].t())
        bias = w["exp_probs_b.bias"].detach()
        chosen, weights = experts.route(scores, bias, s.experts_per_token, s.expert_weights_scale)
        matrices = (w["ffn_gate_exps.weight"], w["ffn_up_exps.weight"], w["ffn_down_exps.weight"])
        return experts.routed_experts(rows, chosen, weights, matrices, self.product)

    def _attention(self, w, x, cosine, sine):
        s = self.shape
        batch, length, _ = x.shape
        h = rms_norm(x, w["attn_norm.weight"], s.norm_epsilon)
        query = rms_norm(h @ w["attn_q_a.weight"].t(), w["attn_q_a_norm.weight"], s.norm_epsilon)
        query = (query @ w["attn_q_b.weight"].t()).view(batch, length, s.head_count, s.head_dim)
        latent = h @ w["attn_kv_a_mqa.weight"].t()
        normed = rms_norm(latent[..., : s.latent_rank], w["attn_kv_a_norm.weight"], s.norm_epsilon)
        rotated_key = rotate(latent[..., s.latent_rank :].unsqueeze(2), cosine, sine)
        key_b = w["attn_k_b.weight"].permute(1, 0, 2).reshape(s.latent_rank, s.head_count * s.nope_dim)
        key = (normed @ key_b).view(batch, length, s.head_count, s.nope_dim)
        value = normed @ w["attn_v_b.weight"].reshape(s.head_count * s.value_dim, s.latent_rank).t()
        value = value.view(batch, length, s.head_count, s.value_dim)
        query = torch.cat((query[..., : s.nope_dim], rotate(query[..., s.nope_dim :], cosine, sine)), dim=-1)
        key = torch.cat((key, rotated_key.expand(-1, -1, s.head_count, -1)), dim=-1)
        mixed = causal_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
        mixed = mixed.transpose(1, 2).reshape(batch, length, s.head_count * s.value_dim)
        return mixed @ w["attn_output.weight"].t()

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


class ChunkedLoss(torch.autograd.Function):
    """Mean of cross-entropy + z_loss * log-partition^2; logits of a few rows at a time, gradients made at once."""

    @staticmethod
    def forward(ctx, rows, embedding, targets, z_loss):
        counted = targets >= 0
        share = 1.0 / counted.sum().clamp_min(1).float()
        total = torch.zeros((), device=rows.device)
        d_rows = torch.empty_like(rows)
        d_embedding = torch.zeros(embedding.shape, device=rows.device)
        for begin in range(0, rows.shape[0], HEAD_ROWS):
            part = slice(begin, begin + HEAD_ROWS)
            logits = (rows[part] @ embedding.t()).float()
            goal = targets[part].clamp_min(0).unsqueeze(1)
            weight = counted[part].float() * share
            partition = logits.logsumexp(dim=1)
            total += ((partition - logits.gather(1, goal).squeeze(1)) * weight).sum()
            if not ctx.needs_input_grad[0]:
                continue
            gradient = (logits - partition.unsqueeze(1)).exp_()
            gradient *= (weight * (1 + 2 * z_loss * partition)).unsqueeze(1)
            gradient.scatter_add_(1, goal, -weight.unsqueeze(1))
            gradient = gradient.to(rows.dtype)
            d_rows[part] = gradient @ embedding
            d_embedding += gradient.t() @ rows[part]
        ctx.save_for_backward(d_rows, d_embedding)
        ctx.embedding_type = embedding.dtype
        return total

    @staticmethod
    def backward(ctx, upstream):
        d_rows, d_embedding = ctx.saved_tensors
        return d_rows * upstream.to(d_rows.dtype), (d_embedding * upstream).to(ctx.embedding_type), None, None
