"""The shape of the model and the order of its weights, as training/trainer has them (shape.h, parameters.cpp)."""

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Words as in GGUF; every width in elements."""

    vocab_size: int = 16384
    hidden_dim: int = 512
    layer_count: int = 8
    dense_layer_count: int = 1
    head_count: int = 8
    nope_dim: int = 64
    rope_dim: int = 32
    value_dim: int = 64
    query_rank: int = 256
    latent_rank: int = 256
    dense_ffn_dim: int = 1536
    expert_ffn_dim: int = 256
    expert_count: int = 16
    experts_per_token: int = 2
    expert_weights_scale: float = 1.5
    norm_epsilon: float = 1e-6
    rope_base: float = 10000.0
    shared_expert_count: int = 2
    is_mtp: bool = False  # the weights are those of the block behind the last layer alone, which predicts one token further

    @property
    def head_dim(self):
        return self.nope_dim + self.rope_dim

    @property
    def shared_ffn_dim(self):
        return self.shared_expert_count * self.expert_ffn_dim

    def flops_per_token(self, length):
        """Of one training step (forward and backward) at windows of `length` tokens."""
        moe_layers = self.layer_count - self.dense_layer_count
        experts = self.experts_per_token * self.expert_ffn_dim + self.shared_ffn_dim
        feed_forward = 3 * self.hidden_dim * (self.dense_layer_count * self.dense_ffn_dim + moe_layers * experts)
        attention = (
            self.hidden_dim * (self.query_rank + self.latent_rank + self.rope_dim)
            + self.query_rank * self.head_count * self.head_dim
            + self.latent_rank * self.head_count * (self.nope_dim + self.value_dim)
            + self.hidden_dim * self.head_count * self.value_dim
            + length / 2 * self.head_count * (self.head_dim + self.value_dim)
        )
        head = self.vocab_size * self.hidden_dim
        if self.is_mtp:  # the trunk's layers are passed forwards alone
            block = 3 * self.hidden_dim * experts + attention + 2 * self.hidden_dim**2
            return 6 * (block + head) + 2 * (feed_forward + self.layer_count * attention)
        return 6 * (feed_forward + self.layer_count * attention + head)


# What one H100 trains in 30 minutes. Names and sizes: training/README.md, "On a GPU".
PRESETS = {
    "h2": Shape(),
    "h2-wide": Shape(expert_count=17),
    "h2-slim": Shape(layer_count=7, expert_count=20),
    "c1": Shape(
        hidden_dim=256, layer_count=6, head_count=4, dense_ffn_dim=768, shared_expert_count=1
    ),
    "toy": Shape(
        vocab_size=512, hidden_dim=64, layer_count=3, head_count=2, nope_dim=16, rope_dim=8, value_dim=16,
        query_rank=32, latent_rank=32, dense_ffn_dim=128, expert_ffn_dim=32, expert_count=4,
    ),
}  # fmt: skip


def toy_of(vocab_size):
    """The shape of tests, for a tokenizer of that many tokens."""
    return dataclasses.replace(PRESETS["toy"], vocab_size=vocab_size)


@dataclass(frozen=True)
class Parameter:
    """`count` matrices of (rows, columns), row-major, one after the other; named as in GGUF."""

    name: str
    kind: str  # matrix (Muon), embedding, norm, router (AdamW), routing_bias (moved by load)
    columns: int
    rows: int = 1
    count: int = 1
    is_routed_expert: bool = False
    starts_at_zero: bool = False  # writes into the residual stream

    @property
    def elements(self):
        return self.count * self.rows * self.columns


def layout(shape):
    """All parameters in the order of the checkpoint."""
    if shape.is_mtp:
        return _mtp_parameters(shape)
    parameters = [Parameter("token_embd.weight", "embedding", shape.hidden_dim, shape.vocab_size)]
    for layer in range(shape.layer_count):
        parameters += _layer_parameters(shape, layer)
    parameters.append(Parameter("output_norm.weight", "norm", shape.hidden_dim))
    return parameters


def _mtp_parameters(shape):
    """Of the multi-token-prediction block, named as layer `layer_count`; embedding and head are the trunk's."""
    at = f"blk.{shape.layer_count}.nextn."
    width = shape.hidden_dim
    return [
        Parameter(at + "eh_proj.weight", "matrix", 2 * width, width), Parameter(at + "enorm.weight", "norm", width),
        Parameter(at + "hnorm.weight", "norm", width), *_layer_parameters(shape, shape.layer_count),
        Parameter(at + "shared_head_norm.weight", "norm", width),
    ]  # fmt: skip


def _layer_parameters(s, layer):
    parameters = []
    at = f"blk.{layer}."
    value_row = s.head_count * s.value_dim

    def matrix(name, rows, columns, **more):
        parameters.append(Parameter(at + name, "matrix", columns, rows, **more))

    def other(name, kind, columns, rows=1):
        parameters.append(Parameter(at + name, kind, columns, rows))

    other("attn_norm.weight", "norm", s.hidden_dim)
    matrix("attn_q_a.weight", s.query_rank, s.hidden_dim)
    other("attn_q_a_norm.weight", "norm", s.query_rank)
    matrix("attn_q_b.weight", s.head_count * s.head_dim, s.query_rank)
    matrix("attn_kv_a_mqa.weight", s.latent_rank + s.rope_dim, s.hidden_dim)
    other("attn_kv_a_norm.weight", "norm", s.latent_rank)
    matrix("attn_k_b.weight", s.latent_rank, s.nope_dim, count=s.head_count)
    matrix("attn_v_b.weight", s.value_dim, s.latent_rank, count=s.head_count)
    matrix("attn_output.weight", s.hidden_dim, value_row, starts_at_zero=True)
    other("ffn_norm.weight", "norm", s.hidden_dim)
    if layer < s.dense_layer_count:
        matrix("ffn_gate.weight", s.dense_ffn_dim, s.hidden_dim)
        matrix("ffn_up.weight", s.dense_ffn_dim, s.hidden_dim)
        matrix("ffn_down.weight", s.hidden_dim, s.dense_ffn_dim, starts_at_zero=True)
        return parameters
    expert = {"count": s.expert_count, "is_routed_expert": True}
    other("ffn_gate_inp.weight", "router", s.hidden_dim, s.expert_count)
    other("exp_probs_b.bias", "routing_bias", s.expert_count)
    matrix("ffn_gate_exps.weight", s.expert_ffn_dim, s.hidden_dim, **expert)
    matrix("ffn_up_exps.weight", s.expert_ffn_dim, s.hidden_dim, **expert)
    matrix("ffn_down_exps.weight", s.hidden_dim, s.expert_ffn_dim, starts_at_zero=True, **expert)
    matrix("ffn_gate_shexp.weight", s.shared_ffn_dim, s.hidden_dim)
    matrix("ffn_up_shexp.weight", s.shared_ffn_dim, s.hidden_dim)
    matrix("ffn_down_shexp.weight", s.hidden_dim, s.shared_ffn_dim, starts_at_zero=True)
    return parameters
