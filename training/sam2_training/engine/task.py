"""The contract between the engine and a task: all that the engine knows of what is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sam2_training.core.columns import ColumnKind
from sam2_training.core.errors import RunStatus
from sam2_training.core.rng import rng_for
from sam2_training.core.shared_work import HeartbeatCallback


@dataclass(frozen=True)
class SampleKey:
    """Which sample stands at which place of the run: everything that its content depends on, besides the seed."""

    epoch: int
    position: int
    """Place in this epoch's order; (epoch, position) seeds the sample's own generator."""
    index: int
    """Index of the sample in the dataset, 0 <= index < len(dataset)."""


Picture = npt.NDArray[np.uint8]
"""RGB, [H, W, 3]."""


@dataclass(frozen=True)
class BatchInfo:
    """The part of a batch that stays on the CPU."""

    sources: tuple[str, ...]
    """A line per sample that leads a reader to its files."""
    bad_samples: tuple[str, ...] = ()
    """Messages of the samples that were left out."""
    loss_weight: int = 0
    """What the loss is divided by, such as the number of samples; 0 if every sample of the batch was left out."""


@dataclass(frozen=True)
class SampleGroup:
    """Samples that never share a batch with those of another group."""

    num_samples: int
    """They follow each other in the dataset, and the groups too."""
    passes: float = 1.0
    """How often an epoch goes through them; 0.5: through half of them, others in every epoch."""
    batch_size: int | None = None
    """Samples per device in one forward pass; None: loader.batch_size."""


class Batch(Protocol):
    """A collated batch, on the CPU as the loader gives it, or on the device."""

    @property
    def info(self) -> BatchInfo: ...

    def to(self, device: torch.device, *, non_blocking: bool = ...) -> Self: ...

    def pin_memory(self) -> Self: ...


BatchT = TypeVar("BatchT", bound=Batch)
BatchT_co = TypeVar("BatchT_co", bound=Batch, covariant=True)
ModelT = TypeVar("ModelT", bound=nn.Module)
ModelT_contra = TypeVar("ModelT_contra", bound=nn.Module, contravariant=True)


class SampleDataset(Protocol[BatchT_co]):
    """Samples by key; must be picklable, since loader workers hold it."""

    def __len__(self) -> int: ...

    def batch(self, keys: Sequence[SampleKey]) -> BatchT_co:
        """The samples of these keys, collated; each depends on its key and the run's seed alone. Raises DataError."""
        ...


@dataclass(frozen=True)
class StepContext:
    """Where in the run a forward pass stands: what its random numbers are derived from."""

    seed: int
    """The run's."""
    step: int
    """Optimizer steps done before this one."""

    def shared_rng(self, stream: str) -> np.random.Generator:
        """A generator for choices that hold for the whole global batch, however it is cut: the same on every rank and
        in every accumulated batch of the step. What differs between samples belongs into the samples themselves."""
        return rng_for(self.seed, stream, self.step)


class StepModule(nn.Module, Generic[BatchT]):
    """Network and loss as one module, so that DDP sees a single forward pass."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: BatchT, normalizer: float, context: StepContext) -> dict[str, Tensor]:
        """Scalar losses by name, "total" among them: the one that is differentiated, also if nothing contributes to it.

        normalizer: what the summed loss is divided by, so that ranks and accumulated batches together give the mean.
        """
        raise NotImplementedError


class ForwardPrecision(Protocol):
    """The number format of forward passes."""

    @property
    def autocast_dtype(self) -> torch.dtype | None:
        """What autocast computes in; None: no autocast."""
        ...

    def autocast(self) -> AbstractContextManager[object]:
        """A context for a forward pass."""
        ...


@dataclass(frozen=True)
class RunSummary:
    """What the engine knows of a run, for its report."""

    status: RunStatus
    note: str
    """A sentence on why it ended, or nothing."""
    step: int
    max_steps: int
    steps_per_epoch: int
    history: Sequence[Mapping[str, float]]
    """{"step": ..., metric: value} of every validation, in order; finite values only."""
    metrics: Sequence[Mapping[str, str]]
    """The rows of metrics.csv, a step each: {column: text}."""
    best_step: int | None
    """The step of the best validation; 0: no validation was better than that of the starting weights."""
    provenance: Mapping[str, object]
    columns: Mapping[str, ColumnKind] = field(default_factory=dict)
    """What the values in `metrics` and `history` mean."""


@dataclass(frozen=True)
class WrittenReport:
    """What a task made of a `RunSummary`."""

    path: Path | None
    """The report's file; None if the task writes none."""
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    """Pictures in it by name, for other logs."""


class Validation(Protocol[ModelT_contra]):
    """Measures a task's network on data that it does not train on. What has a body here is a default to inherit.

    `heartbeat` is called again and again meanwhile; what it raises on one rank ends the measurement on all.
    """

    @property
    def unit(self) -> str:
        """What progress is counted in."""
        return "samples"

    def num_units(self, count: int | None = None) -> int:
        """Units that a measurement goes through, on all ranks together; about as often `heartbeat` is called.

        count: those of a sanity check of the first `count` samples.
        """
        ...

    def describe(self) -> list[str]:
        """Lines for the start banner."""
        return []

    def fingerprint(self) -> str:
        """Changes when numbers of `measure` can no longer be compared with earlier ones: other samples or settings."""
        return ""

    def set_aside(self, step: int) -> None:
        """Puts the files of measurements up to `step` aside: they measured something else. Called on one rank."""
        return

    def measure(
        self, model: ModelT_contra, step: int, precision: ForwardPrecision, heartbeat: HeartbeatCallback
    ) -> dict[str, float]:
        """{metric: value}, equal on all ranks. Details are kept in files of the run. Leaves the network as it was."""
        ...

    def sanity_check(
        self, model: ModelT_contra, count: int, precision: ForwardPrecision, heartbeat: HeartbeatCallback
    ) -> str:
        """Measures the first `count` samples and keeps nothing: finds wrong data before the first step.

        Returns what it did, for the terminal.
        """
        return "this task has none"

    def keep_as_best(self) -> None:
        """Keeps the files of the newest measurement as those of the best weights; called on one rank."""
        return

    def comparison_lines(self, summary: RunSummary) -> list[str]:
        """Lines for the end banner: before and after."""
        return []


class Task(Protocol[BatchT, ModelT]):
    """A kind of training. The engine builds everything it needs through these calls and knows nothing else of it.

    What has a body here is a default to inherit. A task is opened by a `TaskFactory`, on every rank.
    """

    @property
    def title(self) -> str:
        """Heading of the start banner."""
        return "Training"

    @property
    def sample_noun(self) -> str:
        """What a sample is called; its plural names the column of metrics.csv that counts samples."""
        return "sample"

    @property
    def packages(self) -> tuple[str, ...]:
        """Installed packages, besides the engine's, whose version can change a result; kept in provenance.json."""
        return ()

    def columns(self) -> Mapping[str, ColumnKind]:
        """What the values mean that the step module and the validation return, by name."""
        ...

    def describe_data(self) -> list[str]:
        """Lines for the start banner: how much data there is, what was skipped."""
        return []

    def data_fingerprint(self) -> str:
        """SHA-256 (hex) that changes when the training data does."""
        ...

    def model_fingerprint(self) -> str:
        """SHA-256 (hex) that changes when the network's architecture does; "" if the configuration says it all."""
        return ""

    def dataset(self) -> SampleDataset[BatchT]: ...

    def sample_groups(self) -> Sequence[SampleGroup]:
        """How the dataset falls into groups; (): any of its samples may share a batch."""
        return ()

    def model(self) -> ModelT:
        """The network with its initial weights, on the CPU, frozen where the config says so."""
        ...

    def saved_form(self, model: ModelT) -> Mapping[str, Any]:
        """What files hold of the network: "model", {name: tensor} as others load it, and what else belongs beside it.

        "model" has every name of model.state_dict() that a start from these weights needs; what differs from the
        network's own tensors, or is missing, the engine saves besides. Tensors and plain values only.
        """
        return {"model": model.state_dict()}

    def describe_model(self, model: ModelT) -> list[str]:
        """Lines for the start banner: which network, from which weights, what of it learns."""
        return []

    def step_module(self, model: ModelT) -> StepModule[BatchT]:
        """The module that DDP wraps; it holds `model` as attribute `model`."""
        ...

    def training_picture(self, model: ModelT, batch: BatchT) -> Picture | None:
        """What the network makes of the first sample of a batch; leaves the network as it was. None: no picture."""
        return None

    def validation(self) -> Validation[ModelT] | None:
        """How the network is measured while it trains; None if nothing is set aside for that."""
        return None

    def write_report(self, summary: RunSummary) -> WrittenReport:
        """Writes the run's report; called on one rank."""
        return WrittenReport(path=None)

    def usage_snippet(self, checkpoint_path: str) -> list[str]:
        """Python lines that load the result, for the end banner."""
        return [f'torch.load("{checkpoint_path}", weights_only=True)["model"]']
