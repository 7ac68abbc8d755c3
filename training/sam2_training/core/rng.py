"""Random generators that are derived from what they are for, and never carried from one use to the next."""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(seed: int, stream: str, *keys: int) -> int:
    """A 64-bit seed that depends on every argument and on nothing else.

    seed is the run's; stream names the purpose ("order", "sample", "prompts", "noise"), so that two purposes
    never share numbers; keys are indices such as (epoch, position) or (step, rank). BLAKE2b, so that it is the
    same on every platform and in every version of Python and NumPy.
    """
    text = ":".join([str(int(seed)), stream, *(str(int(key)) for key in keys)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def rng_for(seed: int, stream: str, *keys: int) -> np.random.Generator:
    """A fresh NumPy generator (PCG64) for one purpose: see `derive_seed`."""
    return np.random.Generator(np.random.PCG64(derive_seed(seed, stream, *keys)))
