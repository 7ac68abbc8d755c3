"""The plan of a run: which samples each step takes, and after which steps something happens; pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sam2_training.core.cadence import due
from sam2_training.core.errors import ConfigError
from sam2_training.core.rng import rng_for
from sam2_training.engine.config import RunConfig
from sam2_training.engine.task import SampleKey


class StepOrder(Protocol):
    """Which samples each step of a run takes: `Order`, or `grouped_order.GroupedOrder`."""

    @property
    def steps_per_epoch(self) -> int: ...

    def epoch_of(self, step: int) -> tuple[int, int]: ...

    def samples_per_rank(self, step: int) -> int: ...

    def batch_size(self, step: int, batch_size: int) -> int: ...

    def keys(self, step: int, rank: int) -> list[SampleKey]: ...


@dataclass(frozen=True)
class Order:
    """The order of samples over a whole run. It has no state: the step is all there is to know.

    Each epoch is a permutation of the dataset, drawn from (seed, epoch) and cut into steps of `global_batch` samples;
    each rank takes an equal, contiguous slice of a step. The rest of an epoch makes one smaller last step, cut down to
    a multiple of the world size that the run began with; so fewer samples than that are left out, others in every
    epoch.

    Steps do not depend on the world size: a run that is resumed with another one goes through the same global batches
    in the same order. A world size that does not divide each of them is refused.
    """

    seed: int
    num_samples: int
    global_batch: int
    """Samples per optimizer step, over all ranks and accumulated batches."""
    world_size: int
    first_world_size: int | None = None
    """World size that the run began with; None: this one."""
    limit: float | int = 1.0
    """Steps of an epoch that are taken: a fraction of all, or a number of them; at least 1."""
    shuffle: bool = True
    """Whether each epoch has an order of its own; else it is the dataset's."""

    def __post_init__(self) -> None:
        problems = []
        if self.num_samples < self.world_size:
            problems.append(
                f"more ranks than samples: {self.world_size} processes would share {self.num_samples} sample(s). "
                f"Use at most {max(self.num_samples, 1)} process(es) (--num-gpus), more data, or dataset.multiplier."
            )
        if self.global_batch < 1 or self.global_batch % self.world_size:
            low = self.global_batch // self.world_size * self.world_size
            nearest = f"{low} or {low + self.world_size}" if low > 0 else str(self.world_size)
            problems.append(
                f"a global batch of {self.global_batch} sample(s) cannot be shared equally by {self.world_size} "
                f"process(es); nearest: {nearest}"
            )
        elif self._last_step_size % self.world_size:
            problems.append(
                f"the run began with {self.first_world_size} process(es), so each epoch ends with a step of "
                f"{self._last_step_size} sample(s), which {self.world_size} process(es) cannot share equally. "
                f"Continue with a number of processes that divides {math.gcd(self.global_batch, self._last_step_size)}."
            )
        if problems:
            raise ConfigError(problems)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one epoch, at least 1."""
        steps = self.num_samples // self.global_batch + (1 if self._last_step_size else 0)
        wanted = self.limit if isinstance(self.limit, int) else int(steps * self.limit)
        return max(1, min(steps, wanted))

    def epoch_of(self, step: int) -> tuple[int, int]:
        """(epoch, step within that epoch) of a step of the run; all three count from 0."""
        return divmod(step, self.steps_per_epoch)

    def samples_per_rank(self, step: int) -> int:
        """How many samples each rank has in this step: `len(keys(step, rank))` for every rank."""
        is_full = self.epoch_of(step)[1] < self.num_samples // self.global_batch
        return (self.global_batch if is_full else self._last_step_size) // self.world_size

    def batch_size(self, step: int, batch_size: int) -> int:
        """The most samples of one forward pass, in any step as configured."""
        return batch_size

    def keys(self, step: int, rank: int) -> list[SampleKey]:
        """The samples of one rank in one step, in order; all ranks' lists have one length, at least 1."""
        epoch, step_in_epoch = self.epoch_of(step)
        count = self.samples_per_rank(step)
        start = step_in_epoch * self.global_batch + rank * count
        indices = range(start, start + count)
        if self.shuffle:
            indices = _permutation(self.seed, self.num_samples, epoch)[start : start + count].tolist()
        return [SampleKey(epoch, start + place, index) for place, index in enumerate(indices)]

    @property
    def _last_step_size(self) -> int:
        rest = self.num_samples % self.global_batch
        first = self.first_world_size or self.world_size
        return rest // first * first


@dataclass(frozen=True)
class RunPlan:
    """What happens after which optimizer step of a run, from its first to its last. Pure; steps count from 1."""

    config: RunConfig
    order: StepOrder
    start_step: int = 0
    """Steps done before this start."""
    batches_per_step: int = 1
    """Batches of a process that a step takes, as the run began: what counts batches in the configuration is divided
    by it."""

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        trainer = self.config.trainer
        if trainer.limit_train_batches == 0:
            return self.start_step  # validate only
        return trainer.max_steps or self.config.trainer.max_epochs * self.order.steps_per_epoch

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one epoch."""
        return self.order.steps_per_epoch

    def logs_at(self, step: int) -> bool:
        """Whether the losses are read from the device and shown."""
        every = self.config.trainer.log_every_n_steps
        return due(step, every, first=self.start_step + 1, last=self.total_steps)

    def saves_at(self, step: int) -> bool:
        """Whether the state is saved, besides by time and before validations."""
        every_n_epochs = self.config.checkpoint.every_n_epochs
        return due(step, every_n_epochs * self.steps_per_epoch, last=self.total_steps) or due(
            step, self.config.checkpoint.every_n_steps
        )

    def validates_at(self, step: int) -> bool:
        """Whether the network is measured, if there is a validation set; step 0: with its initial weights."""
        trainer = self.config.trainer
        if step == 0:
            return trainer.validate_initial_weights
        if isinstance(trainer.val_check_interval, int):
            return due(step, steps_of(trainer.val_check_interval, self.batches_per_step), last=self.total_steps)
        epoch, steps_before = self.order.epoch_of(step - 1)
        interval = max(1, int(self.steps_per_epoch * trainer.val_check_interval))
        in_epoch = due(epoch + 1, trainer.check_val_every_n_epoch) and due(steps_before + 1, interval)
        return in_epoch or step == self.total_steps

    def pictures_at(self, step: int) -> bool:
        """Whether a picture of a training sample is made."""
        return due(step, self.config.picture_interval)


def steps_of(batches: int, batches_per_step: int) -> int:
    """A number of batches as optimizer steps, rounded up."""
    return -(-batches // batches_per_step)


@lru_cache(maxsize=2)  # prefetching looks into the next epoch while the current one is still in use
def _permutation(seed: int, num_samples: int, epoch: int) -> npt.NDArray[np.int64]:
    order = rng_for(seed, "order", epoch).permutation(num_samples)
    order.setflags(write=False)
    return order
