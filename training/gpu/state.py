"""What a run needs to go on, and the file that `hearth-train export` reads."""

import os
import struct

import numpy
import torch

from model import initial_weights
from shape import Shape, layout

_MAGIC = 0x32306B7063687268  # "hrhcpk02" as bytes; training/trainer/checkpoint.cpp reads it
_MTP_MAGIC = 0x313070746D687268  # "hrhmtp01": the block for multi-token prediction, with the shape of its trunk
_WIDTHS = (
    "vocab_size", "hidden_dim", "layer_count", "dense_layer_count", "head_count", "nope_dim", "rope_dim", "value_dim",
    "query_rank", "latent_rank", "dense_ffn_dim", "expert_ffn_dim", "expert_count", "experts_per_token",
)  # fmt: skip
_REALS = ("expert_weights_scale", "norm_epsilon", "rope_base")


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
        """What `save` wrote, or weights alone (in a smaller type, or a checkpoint.bin): moments and counters start anew."""
        if str(path).endswith(".bin"):
            return State(*read_checkpoint(path, device))
        values = torch.load(path, map_location=device)
        state = State(Shape(**values.pop("shape")), device, values.pop("weights").float())
        vars(state).update(values)
        return state


def write_halves(path, out):
    """The weights of a state alone, as halves: what `State.load` begins anew from, at a sixth of the size."""
    values = torch.load(path, map_location="cpu")
    torch.save({"shape": values["shape"], "weights": values["weights"].half()}, f"{out}.part")
    os.replace(f"{out}.part", out)


def write_checkpoint(shape, weights, path, steps=0, tokens=0, seconds=0.0):
    """Weights alone, as training/trainer's checkpoint.bin without moments: enough to export and to start from."""
    widths = (getattr(shape, name) for name in _WIDTHS)
    reals = (getattr(shape, name) for name in _REALS)
    elements = sum(parameter.elements for parameter in layout(shape))
    assert weights.numel() == elements
    with open(f"{path}.part", "wb") as file:
        file.write(struct.pack("<Q14Q", _MTP_MAGIC if shape.is_mtp else _MAGIC, *widths))
        file.write(struct.pack("<fffI", *reals, shape.shared_expert_count))
        file.write(struct.pack("<QQQQdQ", steps, tokens, 0, 0, seconds, elements))
        weights.detach().float().cpu().numpy().astype("<f4").tofile(file)
    os.replace(f"{path}.part", path)


def read_checkpoint(path, device):
    """(shape, device, weights) of a checkpoint.bin without moments."""
    with open(path, "rb") as file:
        magic, *widths = struct.unpack("<Q14Q", file.read(8 * 15))
        *reals, shared = struct.unpack("<fffI", file.read(16))
        elements = struct.unpack("<QQQQdQ", file.read(48))[-1]
        weights = numpy.fromfile(file, dtype="<f4")
    reals = [float(str(numpy.float32(real))) for real in reals]  # 1e-6 as it was written
    shape = Shape(**dict(zip(_WIDTHS, widths)), **dict(zip(_REALS, reals)), shared_expert_count=shared)
    if magic != _MAGIC or weights.size != elements or elements != sum(each.elements for each in layout(shape)):
        raise ValueError(f"{path} is no checkpoint of weights alone; make one with hearth-train import")
    return shape, device, torch.from_numpy(weights)
