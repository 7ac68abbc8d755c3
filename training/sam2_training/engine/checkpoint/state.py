"""The state of a run besides tensors, and what of the configuration may change when a run continues."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sam2_training.core.errors import ConfigError
from sam2_training.engine.config import LoadedConfig, RunConfig
from sam2_training.engine.schedule import SHAPES

FORMAT = 1
"""Version of the checkpoint's layout."""


@dataclass
class TrainState:
    """The few values that change while training and are not tensors of the network or the optimizer."""

    config: dict[str, Any]
    fingerprints: dict[str, str]
    """{what the run depends on besides its configuration: SHA-256 of its content}."""
    global_batch: int
    """Samples per optimizer step over all ranks; fixed at the run's first start, whatever the world size later."""
    world_size: int
    """Ranks of this start."""
    first_world_size: int
    """Ranks of the run's first start; with the global batch it fixes which samples make a step."""
    step: int = 0
    """Optimizer steps done."""
    bad_samples: int = 0
    """Samples left out in the current epoch, over all ranks."""
    notes: list[str] = field(default_factory=list)
    """What the start banner says of this start."""
    group_batches: tuple[int, ...] = ()
    """Samples per optimizer step of each group (`SampleGroup`), fixed like global_batch; (): there are no groups."""
    batches_per_step: int = 1
    """Batches of a process per optimizer step, of the run's first start; what the configuration counts in batches is
    counted with it."""

    def to_save(self) -> dict[str, Any]:
        """What of it goes into a checkpoint; plain types only."""
        groups = {"group_batches": list(self.group_batches)} if self.group_batches else {}
        return {
            **groups,
            "format": FORMAT,
            "step": self.step,
            "bad_samples": self.bad_samples,
            "global_batch": self.global_batch,
            "world_size": self.world_size,
            "first_world_size": self.first_world_size,
            "batches_per_step": self.batches_per_step,
            "fingerprints": self.fingerprints,
            "config": self.config,
        }


def with_more_steps(saved: dict[str, Any], step: int, state: TrainState, config: RunConfig) -> dict[str, Any]:
    """The configuration of a checkpoint of a run that had finished at `step`, with this start's larger number of steps.

    Going on with such a run is no mistake, so it needs no allowance; that the schedule changes with it is noted. A
    schedule of torch, whose state knows its length, is left to `compare`.
    """
    trainer = dict(saved["trainer"])
    asked = {"max_steps": config.trainer.max_steps, "max_epochs": config.trainer.max_epochs}
    before = {name: trainer.get(name, value) for name, value in asked.items()}
    more_steps = asked["max_steps"] is None or asked["max_steps"] > step
    more_epochs = asked["max_epochs"] == -1 or (asked["max_epochs"] or 0) >= (before["max_epochs"] or 0)
    if asked == before or not (more_steps and more_epochs) or config.scheduler.type not in SHAPES:
        return saved
    changed = [name for name in asked if asked[name] != before[name]]
    changes = ", ".join(f"trainer.{name}: {before[name]} -> {asked[name]}" for name in changed)
    state.notes.append(
        f"goes on, although the run had finished ({changes}): the {config.scheduler.type} schedule of the learning "
        f"rate now spans all steps, those done before too, so after step {step} the rate does not begin where it ended"
    )
    return {**saved, "trainer": {**trainer, **asked}}


def compare(saved: dict[str, Any], state: TrainState, loaded: LoadedConfig[RunConfig], origin: str) -> None:
    """Adds what differs from a checkpoint's configuration and data to the notes of the start.

    Raises ConfigError if something differs that affects results, unless that is allowed, or nothing is trained.
    """
    config = loaded.config
    allowed = config.checkpoint.allow_config_change or config.trainer.limit_train_batches == 0
    matter, harmless = loaded.differences_from(saved["config"])
    known = saved.get("fingerprints")
    if known is None:  # written before content was compared
        state.notes.append("an earlier version wrote the checkpoint: whether the data are the same is not checked")
    else:
        others = [name for name, value in state.fingerprints.items() if known.get(name) != value]
        matter += [f"the {name} is not the one that the checkpoint was made with" for name in others]
    state.notes += [f"changed: {line}" for line in (matter if allowed else []) + harmless]
    if matter and not allowed:
        raise ConfigError(
            [
                f"{origin} was made with another configuration:",
                *(f"  {line}" for line in matter),
                "Undo these changes to continue the run; or start another one with launcher.experiment_log_dir=<new "
                "folder>; or accept them with checkpoint.allow_config_change=true.",
            ]
        )
