"""Dropout with cheaper random numbers on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEVELS = 1 << 16
"""Probabilities are multiples of 1 / LEVELS: each element takes 16 random bits instead of a float."""


class BitDropout(nn.Dropout):
    """nn.Dropout whose mask on a CPU comes from 16 random bits an element; elsewhere it is nn.Dropout.

    torch draws one Bernoulli number an element on a CPU, which takes longer than the matrix product that follows.
    Random numbers come from torch's global generator. p is rounded to a multiple of 1 / 65536.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x with a fraction p of its elements set to 0 and the others divided by 1 - p; x itself in eval mode."""
        dropped = round(self.p * LEVELS)
        fast = self.training and 0 < dropped < LEVELS and x.device.type == "cpu"
        if not fast or torch.compiler.is_compiling():
            return super().forward(x)
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = words.view(torch.int16)[: x.numel()].view(x.shape)
        keep = (bits >= dropped - LEVELS // 2).to(x.dtype)
        return x * keep.mul_(LEVELS / (LEVELS - dropped))


def use_bit_dropout(module: nn.Module) -> None:
    """Turns every nn.Dropout inside `module` into a `BitDropout`, in place."""
    for part in module.modules():
        if type(part) is nn.Dropout:
            part.__class__ = BitDropout
