"""What a run needs to go on, and the file that `hearth-train export` reads."""

import os
import struct

import torch

from model import initial_weights
from shape import Shape, layout

_MAGIC = 0x32306B7063687268  # "hrhcpk02" as bytes; training/trainer/checkpoint.cpp reads it


class State:
    """Weights and moments in the order of the layout, flat float32 on the device, and the counters."""

    def __init__(self, shape, device, weights=None):
        self.shape = shape
        self.weights = (initial_weights(shape, 1) if weights is None else weights).to(device)
        self.moments = [torch.zeros_like(self.weights), torch.zeros_like(self.weights)]
        self.steps = 0
        self.tokens = 0
        self.seconds = 0.0
        self.drawn = {}  # name of a set of windows -> part -> windows drawn

    def save(self, path):
        """Written beside `path` and renamed."""
        values = {key: value for key, value in vars(self).items() if key != "shape"}
        values["shape"] = vars(self.shape)
        torch.save(values, f"{path}.part")
        os.replace(f"{path}.part", path)

    @staticmethod
    def load(path, device):
        """What `save` wrote, or weights alone in a smaller type: then moments and counters start anew."""
        values = torch.load(path, map_location=device)
        state = State(Shape(**values.pop("shape")), device, values.pop("weights").float())
        vars(state).update(values)
        return state


def write_checkpoint(shape, weights, path, steps=0, tokens=0, seconds=0.0):
    """Weights alone, as training/trainer's checkpoint.bin without moments: enough to export and to start from."""
    s = shape
    widths = (
        s.vocab_size, s.hidden_dim, s.layer_count, s.dense_layer_count, s.head_count, s.nope_dim, s.rope_dim,
        s.value_dim, s.query_rank, s.latent_rank, s.dense_ffn_dim, s.expert_ffn_dim, s.expert_count,
        s.experts_per_token,
    )  # fmt: skip
    elements = sum(parameter.elements for parameter in layout(shape))
    assert weights.numel() == elements
    with open(f"{path}.part", "wb") as file:
        file.write(struct.pack("<Q14Q", _MAGIC, *widths))
        file.write(struct.pack("<fffI", s.expert_weights_scale, s.norm_epsilon, s.rope_base, s.shared_expert_count))
        file.write(struct.pack("<QQQQdQ", steps, tokens, 0, 0, seconds, elements))
        weights.detach().float().cpu().numpy().astype("<f4").tofile(file)
    os.replace(f"{path}.part", path)
