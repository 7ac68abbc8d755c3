"""The protocol between the loop and a wing: all that the engine knows of what is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from torch import Tensor, nn


@dataclass(frozen=True)
class SampleKey:
    """Which sample stands at which place of the run: everything that its content depends on, besides the seed."""

    epoch: int
    position: int
    """Place in this epoch's order; (epoch, position) seeds the sample's own generator."""
    index: int
    """Index of the sample in the dataset, 0 <= index < len(dataset)."""


class Info(Protocol):
    """The part of a batch that stays on the CPU."""

    @property
    def sources(self) -> tuple[str, ...]:
        """A line per sample that leads a reader to its files."""
        ...

    @property
    def bad_samples(self) -> tuple[str, ...]:
        """Messages of the samples that were left out."""
        ...

    @property
    def loss_weight(self) -> int:
        """What the loss is divided by (objects); 0 if every sample of the batch was left out."""
        ...


class Batch(Protocol):
    """A collated batch, on the CPU as the loader gives it, or on the device."""

    info: Any
    """`Info`."""

    def to(self, device: Any, non_blocking: bool = ...) -> Batch: ...

    def pin_memory(self) -> Batch: ...


class SampleDataset(Protocol):
    """Samples by key; must be picklable, since loader workers hold it."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: SampleKey) -> Any: ...

    def collate(self, samples: Sequence[Any]) -> Batch: ...


class StepModule(Protocol):
    """Network and loss as one module, so that DDP sees a single forward pass."""

    def __call__(self, batch: Any, normalizer: float, prompt_rng: np.random.Generator) -> dict[str, Tensor]: ...


RunState = Literal["running", "finished", "stopped", "failed"]


@dataclass(frozen=True)
class RunFacts:
    """What the loop knows of a run, for a report."""

    state: RunState
    note: str
    """A sentence on why it ended, or nothing."""
    step: int
    max_steps: int
    steps_per_epoch: int
    history: Sequence[dict[str, Any]]
    """{"step": ..., metric: value} of every validation, in order; finite values only."""
    metrics: Sequence[Mapping[str, str]]
    """The rows of metrics.csv, a step each: {column: text}."""
    best_step: int | None
    """The step of the best validation."""
    provenance: dict[str, Any]


class Validation(Protocol):
    """How a wing measures what its network is worth, on data that it does not train on.

    `heartbeat` is called again and again meanwhile; what it raises on one rank ends the measuring on all.
    """

    def describe(self) -> list[str]:
        """Lines for the start banner."""
        ...

    def num_frames(self) -> int:
        """Frames that a measurement goes through, on all ranks together; about as often `heartbeat` is called."""
        ...

    def measure(self, model: nn.Module, step: int, precision: Any, heartbeat: Callable[[], None]) -> dict[str, float]:
        """{metric: value}, equal on all ranks; details are kept in files of the run. Leaves the network as it was."""
        ...

    def sanity_check(self, model: nn.Module, count: int, precision: Any, heartbeat: Callable[[], None]) -> None:
        """Measures a little and keeps nothing."""
        ...

    def keep_as_best(self) -> None:
        """What the newest measurement left in files is that of the best weights; called on one rank."""
        ...

    def comparison_lines(self, facts: RunFacts) -> list[str]:
        """Lines for the end banner: before and after."""
        ...


class Task(Protocol):
    """A wing. The trainer builds everything it needs through these calls and knows nothing else of it."""

    def describe_data(self) -> list[str]:
        """Lines for the start banner: counts of videos, frames, objects, what was skipped."""
        ...

    def dataset(self) -> SampleDataset: ...

    def model(self) -> nn.Module:
        """The network with its initial weights, on the CPU, frozen where the config says so."""
        ...

    def step_module(self, model: nn.Module) -> nn.Module:
        """The module that DDP wraps: `StepModule`; it holds `model` as attribute `model`."""
        ...

    def training_picture(self, model: nn.Module, batch: Any) -> Any:
        """What the network makes of the first clip of a batch, uint8 [H, W, 3]; leaves the network as it was."""
        ...

    def validation(self) -> Validation | None:
        """How the network is measured while it trains; None if nothing is set aside for that."""
        ...

    def write_report(self, facts: RunFacts) -> dict[str, Any]:
        """Writes the run's report; called on one rank. {name: picture uint8 [H, W, 3]} in it, for other logs."""
        ...

    def describe_model(self, model: nn.Module) -> list[str]:
        """Lines for the start banner: which network, from which weights, what of it learns."""
        ...

    def usage_snippet(self, checkpoint_path: str) -> list[str]:
        """Python lines that load the result, for the end banner."""
        ...

    def data_fingerprint(self) -> str:
        """SHA-256 (hex) of what the dataset index says: names, counts, ids; changes when the data does."""
        ...
