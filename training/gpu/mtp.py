"""The block for multi-token prediction: one more layer that guesses the token after the next, over a trunk that stays as it is.

Its input at a place is what the trunk's head reads there beside the embedding of the token that follows (DeepSeek-V3,
arXiv:2412.19437, section 2.2); embedding and head are the trunk's. The engine can draft by it.
"""

import dataclasses

import torch
import torch.nn.functional as F

from model import rms_norm, views


class MtpModel:
    """`loss` over the weights of the block alone, so that a Trainer trains it as it trains a whole model."""

    def __init__(self, trunk, weights):
        """`trunk`: a Model; `weights`: its flat weights, prepared here once."""
        self.trunk = trunk
        self.device = trunk.device
        self.shape = dataclasses.replace(trunk.shape, is_mtp=True)
        with torch.no_grad():
            self.ready = trunk.prepared(views(trunk.shape, weights), False)

    def compile(self):
        self.trunk.compile()

    def loss(self, weights, tokens, targets, rounded, z_loss, worth=None):
        """As Model.loss, of the targets one place further; `targets` and `worth` are those of a whole model."""
        rows, _, load = self._rows(weights, tokens, rounded)
        none = torch.full_like(targets[:, :1], -1)
        targets = torch.cat((targets[:, 1:], none), dim=1)
        if worth is not None:
            worth = torch.cat((worth[:, 1:], torch.zeros_like(worth[:, :1])), dim=1)
        return self.trunk.scored(rows, self.ready["token_embd.weight"], targets, z_loss, worth), load

    def agreement(self, weights, tokens, rounded=True):
        """Share of places where the block's first choice is the one that the trunk has once it sees the next token."""
        with torch.no_grad():
            rows, trunk_rows, _ = self._rows(weights, tokens, rounded)
            said, wanted = (self._choices(each).view(tokens.shape) for each in (rows, trunk_rows))
            return float((said[:, :-2] == wanted[:, 1:-1]).float().mean())

    def _choices(self, rows):
        return torch.cat([(part @ self.ready["token_embd.weight"].t()).argmax(dim=1) for part in rows.split(8192)])

    def _rows(self, weights, tokens, rounded):
        """The normed rows that the head scores, of the block and of the trunk, and the load of the experts, (1, experts)."""
        s, at = self.shape, f"blk.{self.shape.layer_count}.nextn."
        with torch.no_grad():
            trunk_rows, _ = self.trunk.hidden(self.ready, tokens)
            following = F.embedding(torch.roll(tokens, -1, dims=1), self.ready["token_embd.weight"])
        ready = self.trunk.prepared(weights, rounded)
        word = rms_norm(following, ready[at + "enorm.weight"], s.norm_epsilon)
        seen = rms_norm(trunk_rows.view_as(following), ready[at + "hnorm.weight"], s.norm_epsilon)
        x = torch.cat((word, seen), dim=-1) @ ready[at + "eh_proj.weight"].t()
        x, load = self.trunk.layer(ready, s.layer_count, x)
        return rms_norm(x, ready[at + "shared_head_norm.weight"], s.norm_epsilon), trunk_rows, load.unsqueeze(0)
