"""Token windows from shards that may still be arriving: DATA/PART/wLENGTH/{train,decay}-NNN.bin, a part at a time.

A part is there once its shards.json is (it is written last). Which window comes next depends on how many were drawn
from each part and on nothing else, so a run that goes on draws what it would have drawn.
"""

import json
import math
from pathlib import Path

import numpy
import torch


class Windows:
    """The windows of one kind ("train" or "decay") and length."""

    def __init__(self, folder, kind, length, drawn=None):
        self.folder = Path(folder)
        self.kind = kind
        self.length = length
        self.drawn = dict(drawn or {})  # part -> windows drawn so far
        self._tokens = {}
        self.refresh()

    def refresh(self):
        """Takes up the parts that have come since."""
        for index in sorted(self.folder.glob(f"*/w{self.length}/shards.json")):
            part = index.parents[1].name
            if part in self._tokens:
                continue
            names = sorted(name for name in json.loads(index.read_text()) if name.startswith(self.kind + "-"))
            shards = [numpy.fromfile(index.parent / name, dtype="<u2") for name in names]
            tokens = numpy.concatenate(shards) if shards else numpy.zeros(0, dtype="<u2")
            if tokens.size >= self.length:
                self._tokens[part] = tokens[: tokens.size // self.length * self.length].reshape(-1, self.length)
                self.drawn.setdefault(part, 0)

    @property
    def count(self):
        return sum(len(tokens) for tokens in self._tokens.values())

    @property
    def passes(self):
        """How often the windows that are there have been seen, on average."""
        return sum(self.drawn[part] for part in self._tokens) / max(1, self.count)

    def draw(self, count):
        """(count, length) int64: each from the part that is least used, every window of it before any comes again."""
        rows = []
        for _ in range(count):
            part = min(self._tokens, key=lambda p: (self.drawn[p] / len(self._tokens[p]), p))
            tokens = self._tokens[part]
            rows.append(tokens[_walk(self.drawn[part], len(tokens))])
            self.drawn[part] += 1
        return torch.from_numpy(numpy.stack(rows).astype(numpy.int64))


def _walk(step, count):
    """A stride near the golden section, made coprime to the count, visits every window once (as dataset.cpp does)."""
    stride = int(0.6180339887 * count) + 1
    while math.gcd(stride, count) != 1:
        stride += 1
    return (step % count * stride + step // count * 7) % count


def targets_of(tokens, padding):
    """The token that follows each; -1 where there is none, or where it is padding."""
    targets = torch.full_like(tokens, -1)
    targets[:, :-1] = tokens[:, 1:]
    return targets.masked_fill(targets == padding, -1)


def is_answer(tokens, begins, ends):
    """Which targets (the token that follows each) are of an answer: behind a `begins`, up to the next `ends`."""
    places = torch.arange(1, tokens.shape[1] + 1).expand_as(tokens)
    begun = torch.where(tokens == begins, places, torch.zeros_like(places)).cummax(dim=1).values
    ended = torch.where(tokens == ends, places, torch.zeros_like(places)).cummax(dim=1).values
    return begun > ended


def special_ids(tokenizer_path):
    """{name: id} of a tokenizer file (training/README.md, "Tokenizer file")."""
    lines = Path(tokenizer_path).read_text(encoding="utf-8").splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("specials "))
    names = lines[place + 1 :]
    first = vocab_size(tokenizer_path) - len(names)
    return {name: first + index for index, name in enumerate(names)}


def vocab_size(tokenizer_path):
    """Bytes, merges whose text is new, special tokens."""
    lines = Path(tokenizer_path).read_text(encoding="utf-8").splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("merges "))
    count = int(lines[place].split()[1])
    texts = {"".join(line.split(" ")) for line in lines[place + 1 : place + 1 + count]}
    return 256 + len(texts) + int(lines[place + 1 + count].split()[1])
