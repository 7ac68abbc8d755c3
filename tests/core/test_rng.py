"""Derived randomness: the numbers are the same everywhere and for ever, and no two purposes share them."""

from __future__ import annotations

import itertools

import numpy as np
from sam2_training.core.rng import derive_seed, rng_for


def test_golden_values_hold_on_every_platform_and_version() -> None:
    assert derive_seed(123, "order", 0) == 7722737396146193215
    assert derive_seed(0, "sample", 3, 17) == 15205939667189941465
    assert rng_for(123, "order", 0).integers(0, 1000, 5).tolist() == [388, 673, 907, 901, 382]
    assert np.allclose(rng_for(123, "prompts", 7).random(3), [0.11009654, 0.13469213, 0.66029412], atol=1e-8)


def test_the_same_purpose_gives_the_same_numbers_whatever_was_drawn_before() -> None:
    first = rng_for(1, "sample", 0, 5)
    first.random(1000)
    np.random.default_rng(0).random(7)
    assert np.array_equal(rng_for(1, "sample", 0, 5).random(4), rng_for(1, "sample", 0, 5).random(4))


def test_every_argument_matters() -> None:
    arguments = [
        (seed, stream, *keys)
        for seed, stream in itertools.product((0, 1, 12), ("order", "sample", "prompts", "noise"))
        for keys in ((), (0,), (1,), (0, 0), (0, 1), (1, 0), (1, 2), (12,))
    ]
    seeds = {derive_seed(*each) for each in arguments}
    assert len(seeds) == len(arguments)


def test_neighboring_positions_are_uncorrelated() -> None:
    draws = np.array([rng_for(123, "sample", 0, position).random(2) for position in range(2000)])
    assert abs(np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]) < 0.08  # 2,000 draws: 3.5 standard errors
    assert abs(draws.mean() - 0.5) < 0.02
    assert len(np.unique(draws)) == draws.size


def test_numpy_integers_are_accepted_as_keys() -> None:
    assert derive_seed(int(np.int64(5)), "sample", np.int64(3), np.int32(4)) == derive_seed(5, "sample", 3, 4)
