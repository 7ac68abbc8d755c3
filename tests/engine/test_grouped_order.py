"""The order of samples that fall into groups: no batch mixes them, and it depends on the step alone."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sam2_training.core.errors import ConfigError
from sam2_training.engine.grouped_order import GroupedOrder, global_batches
from sam2_training.engine.task import SampleGroup, SampleKey


def keys_of(order: GroupedOrder, step: int) -> list[SampleKey]:
    """The global batch of a step: all ranks' keys, one rank after the other."""
    return [key for rank in range(order.world_size) for key in order.keys(step, rank)]


@st.composite
def orders(draw: st.DrawFn) -> GroupedOrder:
    world_size = draw(st.integers(1, 3))
    number = draw(st.integers(1, 4))
    groups = tuple(SampleGroup(draw(st.integers(1, 20)), draw(st.floats(0.1, 4))) for _ in range(number))
    batches = tuple(world_size * draw(st.integers(1, 4)) for _ in groups)
    return GroupedOrder(draw(st.integers(0, 2**32)), groups, batches, world_size)


@given(orders(), st.integers(0, 2))
@settings(max_examples=150, deadline=None)
def test_a_step_is_of_one_group_and_positions_of_an_epoch_are_unique(order: GroupedOrder, epoch: int) -> None:
    steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
    bounds = [sum(group.num_samples for group in order.groups[:n]) for n in range(len(order.groups) + 1)]
    seen: list[int] = []
    counts: Counter[int] = Counter()
    for step in steps:
        keys, number = keys_of(order, step), order.group_of(step)
        assert len(keys) == order.global_batches[number]
        assert len(keys) == order.samples_per_rank(step) * order.world_size
        assert all(key.epoch == epoch and bounds[number] <= key.index < bounds[number + 1] for key in keys)
        seen += [key.position for key in keys]
        counts[number] += 1
    assert len(set(seen)) == len(seen)
    for number, (group, batch) in enumerate(zip(order.groups, order.global_batches, strict=True)):
        assert counts[number] == max(1, round(group.num_samples * group.passes / batch))


@given(orders(), st.integers(0, 30))
@settings(max_examples=100, deadline=None)
def test_r03_the_step_is_all_there_is_to_know(order: GroupedOrder, step: int) -> None:
    again = GroupedOrder(order.seed, order.groups, order.global_batches, order.world_size)
    keys_of(again, step + 7)
    assert keys_of(again, step) == keys_of(order, step)
    alone = GroupedOrder(order.seed, order.groups, order.global_batches, 1)
    assert keys_of(alone, step) == keys_of(order, step), "the samples of a step do not depend on the processes"


def test_a_group_is_gone_through_as_often_as_its_passes_say() -> None:
    order = GroupedOrder(3, (SampleGroup(8, 0.5), SampleGroup(6, 2.0, batch_size=3)), (2, 3), 1)
    epochs = []
    for epoch in (0, 1):
        first = epoch * order.steps_per_epoch
        epochs.append(Counter(key.index for step in range(first, first + 6) for key in keys_of(order, step)))
    assert order.steps_per_epoch == 2 + 4
    for counts in epochs:
        assert sorted(index for index in counts if index >= 8) == list(range(8, 14))
        assert all(counts[index] == 2 for index in range(8, 14))
        assert sum(count for index, count in counts.items() if index < 8) == 4
    assert {i for i in epochs[0] if i < 8} != {i for i in epochs[1] if i < 8}
    sizes = {order.group_of(step): order.batch_size(step, 2) for step in range(6)}
    assert sizes == {0: 2, 1: 3}


def test_batches_of_groups_and_what_cannot_be_shared() -> None:
    groups = (SampleGroup(8), SampleGroup(6, batch_size=3))
    assert global_batches(groups, batch_size=2, num_batches=4) == (8, 12)
    with pytest.raises(ConfigError, match="group 1 of the training data has 3 samples a step, which 2 processes"):
        GroupedOrder(0, groups, (2, 3), 2)
    with pytest.raises(ConfigError, match="group 0 of the training data has no sample"):
        GroupedOrder(0, (SampleGroup(0),), (1,), 1)
    assert GroupedOrder(0, groups, (2, 3), 1, limit=3).steps_per_epoch == 3
