"""The plan of a run: promises R3, R5 and R9 of the sample order, and after which steps something happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sam2_training.core.errors import ConfigError
from sam2_training.engine.config import CheckpointConfig, RunConfig, TrainerConfig
from sam2_training.engine.plan import Order, RunPlan
from sam2_training.engine.task import SampleKey


def steps_of(order: Order, start: int, stop: int) -> list[list[SampleKey]]:
    """The global batch of each step: all ranks' keys, one rank after the other."""
    return [[key for rank in range(order.world_size) for key in order.keys(step, rank)] for step in range(start, stop)]


@st.composite
def orders(draw: st.DrawFn) -> Order:
    world_size = draw(st.integers(1, 5))
    global_batch = world_size * draw(st.integers(1, 5))
    num_samples = draw(st.integers(world_size, 60))
    return Order(draw(st.integers(0, 2**32)), num_samples, global_batch, world_size)


@given(orders(), st.integers(0, 40))
@settings(max_examples=150, deadline=None)
def test_r03_resuming_at_any_step_repeats_no_sample_and_loses_none(order: Order, cut: int) -> None:
    last_step = cut + 2 * order.steps_per_epoch
    resumed = Order(order.seed, order.num_samples, order.global_batch, order.world_size)
    assert steps_of(order, 0, cut) + steps_of(resumed, cut, last_step) == steps_of(order, 0, last_step)


@given(orders(), st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_r03_an_epoch_sees_every_sample_once_but_for_less_than_one_per_rank(order: Order, epoch: int) -> None:
    first = epoch * order.steps_per_epoch
    keys = [key for step in steps_of(order, first, first + order.steps_per_epoch) for key in step]
    assert [key.position for key in keys] == list(range(len(keys)))
    assert {key.epoch for key in keys} == {epoch}
    indices = [key.index for key in keys]
    assert len(set(indices)) == len(indices)
    assert set(indices) <= set(range(order.num_samples))
    assert order.num_samples - len(indices) < order.world_size


@given(orders(), st.integers(0, 30))
@settings(max_examples=100, deadline=None)
def test_every_rank_has_equally_many_samples_and_at_least_one(order: Order, step: int) -> None:
    counts = {len(order.keys(step, rank)) for rank in range(order.world_size)}
    assert counts == {order.samples_per_rank(step)}
    assert order.samples_per_rank(step) >= 1


@pytest.mark.parametrize("num_samples", [16, 18, 23])
def test_r05_another_world_size_goes_through_the_same_batches_in_the_same_order(num_samples: int) -> None:
    two = Order(7, num_samples, 8, 2)
    one = Order(7, num_samples, 8, 1, first_world_size=2)
    steps = 2 * two.steps_per_epoch
    assert one.steps_per_epoch == two.steps_per_epoch
    assert steps_of(one, 0, steps) == steps_of(two, 0, steps)


def test_r05_a_world_size_that_does_not_divide_every_batch_is_refused_with_the_way_out() -> None:
    Order(0, 17, 8, 1)
    with pytest.raises(ConfigError, match=r"began with 1 process.* a step of 1 sample.* divides 1\."):
        Order(0, 17, 8, 2, first_world_size=1)
    with pytest.raises(ConfigError, match="nearest: 6 or 9"):
        Order(0, 17, 8, 3, first_world_size=2)


def test_epochs_differ_and_the_seed_decides() -> None:
    def epoch(seed: int, number: int) -> list[int]:
        return [key.index for key in Order(seed, 50, 50, 1).keys(number, 0)]

    assert epoch(1, 0) != epoch(1, 1)
    assert epoch(1, 0) != epoch(2, 0)
    assert epoch(1, 0) == epoch(1, 0)


def test_a_dataset_smaller_than_the_global_batch_makes_one_small_step_an_epoch() -> None:
    order = Order(0, 5, 8, 2)
    assert (order.steps_per_epoch, order.samples_per_rank(0), order.epoch_of(3)) == (1, 2, (3, 0))


def test_more_ranks_than_samples_and_an_indivisible_batch_are_both_named() -> None:
    with pytest.raises(ConfigError) as caught:
        Order(0, 3, 6, 4)
    assert "more ranks than samples: 4 processes would share 3" in str(caught.value)
    assert "a global batch of 6 sample(s) cannot be shared equally by 4 process(es); nearest: 4 or 8" in str(
        caught.value
    )


def test_a_million_samples_cost_little(check_delay: Callable[[str, float, float], None]) -> None:
    order = Order(0, 1_000_000, 8, 1)
    start_s = time.process_time()
    for step in [*range(1000), *range(order.steps_per_epoch - 2, order.steps_per_epoch + 2)]:
        order.keys(step, 0)
    check_delay("1,000 steps of a million samples (CPU)", time.process_time() - start_s, 2)


def plan(start_step: int = 0, picture_interval: int = 0, **sections: Any) -> RunPlan:
    """Epochs of 10 steps; one of RunConfig's sections as keyword."""

    class Config(RunConfig):
        @property
        def picture_interval(self) -> int:
            return picture_interval

    return RunPlan(Config(**sections), Order(0, 10, 1, 1), start_step)


def test_losses_are_shown_after_the_first_step_of_a_start_at_multiples_and_after_the_last() -> None:
    made = plan(12, trainer=TrainerConfig(log_every_n_steps=10, max_steps=35))
    assert [step for step in range(13, 36) if made.logs_at(step)] == [13, 20, 30, 35]


def test_the_state_is_saved_by_steps_at_epoch_ends_and_at_the_end() -> None:
    trainer = TrainerConfig(max_steps=25)
    assert [s for s in range(1, 26) if plan(trainer=trainer).saves_at(s)] == [10, 20, 25]
    by_steps = plan(trainer=trainer, checkpoint=CheckpointConfig(every_n_steps=8))
    assert [s for s in range(1, 26) if by_steps.saves_at(s)] == [8, 10, 16, 20, 24, 25]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [10, 20, 30, 35]),
        ({"every_n_epochs": 2}, [20, 35]),
        ({"every_n_epochs": 3}, [30, 35]),
        ({"every_n_epochs": 9}, [35]),
    ],
    ids=str,
)
def test_the_state_is_saved_every_so_many_epochs(settings: dict[str, int], expected: list[int]) -> None:
    made = plan(trainer=TrainerConfig(max_steps=35), checkpoint=CheckpointConfig(**settings))
    assert [step for step in range(1, 36) if made.saves_at(step)] == expected


def test_pictures_come_only_where_an_interval_asks_for_them() -> None:
    assert not any(plan().pictures_at(step) for step in range(1, 30))
    assert [step for step in range(1, 10) if plan(picture_interval=4).pictures_at(step)] == [4, 8]


def test_a_run_that_only_validates_has_no_steps_left() -> None:
    assert plan(7, trainer=TrainerConfig(limit_train_batches=0)).total_steps == 7
    assert plan(7).total_steps == 10 * RunConfig().trainer.max_epochs
