"""The order of samples of several groups that never share a batch, such as datasets whose samples have other sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from sam2_training.core.errors import ConfigError
from sam2_training.core.rng import rng_for
from sam2_training.engine.checkpoint.state import TrainState
from sam2_training.engine.config import RunConfig
from sam2_training.engine.plan import Order, StepOrder, steps_of
from sam2_training.engine.task import SampleGroup, SampleKey


@dataclass(frozen=True)
class GroupedOrder:
    """Like `plan.Order`, for groups. It has no state either.

    An epoch goes through each group `SampleGroup.passes` times, rounded to whole steps, at least one. Which group a
    step is of is a permutation drawn from (seed, epoch). A group's samples follow permutations of their own, one after
    the other, so that steps are always full; what does not fit is left out, others in every epoch.
    """

    seed: int
    groups: tuple[SampleGroup, ...]
    global_batches: tuple[int, ...]
    """Samples per optimizer step of each group, over all ranks and accumulated batches."""
    world_size: int
    limit: float | int = 1.0
    """As in `plan.Order`."""

    def __post_init__(self) -> None:
        problems = []
        for number, (group, global_batch) in enumerate(zip(self.groups, self.global_batches, strict=True)):
            if not group.num_samples:
                problems.append(f"group {number} of the training data has no sample")
            if global_batch % self.world_size:
                problems.append(
                    f"group {number} of the training data has {global_batch} samples a step, which {self.world_size} "
                    "processes cannot share equally"
                )
        if problems:
            raise ConfigError(problems)

    @cached_property
    def _steps_of(self) -> tuple[int, ...]:
        """Steps of an epoch that are each group's."""
        pairs = zip(self.groups, self.global_batches, strict=True)
        return tuple(max(1, round(group.num_samples * group.passes / batch)) for group, batch in pairs)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one epoch, at least 1."""
        steps = sum(self._steps_of)
        wanted = self.limit if isinstance(self.limit, int) else int(steps * self.limit)
        return max(1, min(steps, wanted))

    def epoch_of(self, step: int) -> tuple[int, int]:
        """(epoch, step within that epoch) of a step of the run; all three count from 0."""
        return divmod(step, self.steps_per_epoch)

    def group_of(self, step: int) -> int:
        """The group whose samples a step takes."""
        epoch, step_in_epoch = self.epoch_of(step)
        return int(_sequence(self.seed, self._steps_of, epoch)[step_in_epoch])

    def samples_per_rank(self, step: int) -> int:
        """How many samples each rank has in this step."""
        return self.global_batches[self.group_of(step)] // self.world_size

    def batch_size(self, step: int, batch_size: int) -> int:
        """The most samples of one forward pass in this step. batch_size: of groups that have none of their own."""
        return self.groups[self.group_of(step)].batch_size or batch_size

    def keys(self, step: int, rank: int) -> list[SampleKey]:
        """The samples of one rank in one step, in order. Positions and indices count on from group to group."""
        epoch, step_in_epoch = self.epoch_of(step)
        sequence = _sequence(self.seed, self._steps_of, epoch)
        number = int(sequence[step_in_epoch])
        nth = int(np.count_nonzero(sequence[:step_in_epoch] == number))
        count = self.samples_per_rank(step)
        first = nth * self.global_batches[number] + rank * count
        return [self._key(epoch, number, place) for place in range(first, first + count)]

    def _key(self, epoch: int, number: int, place: int) -> SampleKey:
        """place: in the group's order of this epoch."""
        size = self.groups[number].num_samples
        turn, rest = divmod(place, size)
        index = int(_permutation(self.seed, size, epoch, number, turn)[rest])
        before = sum(group.num_samples for group in self.groups[:number])
        earlier = zip(self._steps_of[:number], self.global_batches[:number], strict=True)
        return SampleKey(epoch, sum(steps * batch for steps, batch in earlier) + place, before + index)


def order_of(
    config: RunConfig, state: TrainState, groups: Sequence[SampleGroup], num_samples: int, world_size: int
) -> StepOrder:
    """The order of a run's samples. state: with the global batches that it began with. Raises ConfigError."""
    limit = config.trainer.limit_train_batches
    if isinstance(limit, int):
        limit = steps_of(limit, state.batches_per_step)
    if groups and not config.loader.shuffle:
        raise ConfigError("loader.shuffle=false: several datasets are always shuffled; train on one, or set it to true")
    if groups:
        return GroupedOrder(config.seed, tuple(groups), state.group_batches, world_size, limit)
    return Order(
        config.seed, num_samples, state.global_batch, world_size, state.first_world_size, limit, config.loader.shuffle
    )


def global_batches(groups: Sequence[SampleGroup], batch_size: int, num_batches: int) -> tuple[int, ...]:
    """Samples per optimizer step of each group.

    batch_size: of groups that have none of their own; num_batches: forward passes of a step, over all ranks.
    """
    return tuple((group.batch_size or batch_size) * num_batches for group in groups)


@lru_cache(maxsize=2)
def _sequence(seed: int, steps_of: tuple[int, ...], epoch: int) -> npt.NDArray[np.int64]:
    return rng_for(seed, "groups", epoch).permutation(np.repeat(np.arange(len(steps_of)), steps_of))


@lru_cache(maxsize=8)
def _permutation(seed: int, num_samples: int, epoch: int, number: int, turn: int) -> npt.NDArray[np.int64]:
    return rng_for(seed, "order", epoch, number, turn).permutation(num_samples)
