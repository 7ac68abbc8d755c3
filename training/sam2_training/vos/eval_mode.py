"""Temporarily switch a network to eval mode, without effect on the training around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import nn


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Puts the model into eval mode; afterwards each module has the mode it had before."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def preserved_rng(model: nn.Module) -> AbstractContextManager[None]:
    """Restores torch's random number generators, on the CPU and on the model's GPU, when the context ends."""
    devices = [torch.cuda.current_device()] if next(model.parameters()).is_cuda else []
    return torch.random.fork_rng(devices)
