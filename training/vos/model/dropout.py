"""Dropout that draws its random bits faster on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEVELS = 1 << 16
"""Probabilities are multiples of 1 / LEVELS: each element takes 16 random bits, instead of a float of its own."""


class BitDropout(nn.Dropout):
    """nn.Dropout whose mask on a CPU comes from 16 random bits an element; elsewhere it is nn.Dropout.

    torch draws one Bernoulli number an element on a CPU, which takes longer than the matrix product that follows.
    Random numbers come from torch's global generator. p is rounded to a multiple of 1 / 65536.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x with a fraction p of its elements set to 0 and the others divided by 1 - p; x itself in eval mode."""
        if not self.training or self.p == 0 or x.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(x)
        num_words = -(-x.numel() // 4)
        bits = torch.empty(num_words, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[: x.numel()]
        dropped = round(self.p * LEVELS)
        keep = (bits >= dropped - LEVELS // 2).to(x.dtype).view(x.shape)
        return x * keep.mul_(LEVELS / (LEVELS - dropped)) if dropped < LEVELS else x * keep


def use_bit_dropout(module: nn.Module) -> None:
    """Turns every nn.Dropout inside `module` into a `BitDropout`, in place."""
    for part in module.modules():
        if type(part) is nn.Dropout:
            part.__class__ = BitDropout
