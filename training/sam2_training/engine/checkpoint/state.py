"""Where a run stands: what a checkpoint holds besides weights, and the decision between starting and resuming."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sam2_training.core.errors import CheckpointError, ConfigError
from sam2_training.core.ranks import Ranks
from sam2_training.core.schema import as_dict
from sam2_training.engine.checkpoint.store import CheckpointStore
from sam2_training.engine.config import LoadedConfig, RunConfig

FORMAT = 1
"""Version of the checkpoint's layout."""


@dataclass
class TrainState:
    """The few values that change while training and are not tensors of the network or the optimizer."""

    config: dict[str, Any]
    data_fingerprint: str
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
    saved: dict[str, Any] | None = None
    """The checkpoint this start continues from, until its tensors have been taken."""
    notes: list[str] = field(default_factory=list)
    """What the start banner says of this start."""
    _unchecked: list[tuple[int, list[str]]] = field(default_factory=list)

    def to_save(self, **parts: Any) -> dict[str, Any]:
        """What goes into a checkpoint beside "model"; plain types and tensors only."""
        return {
            "format": FORMAT,
            "step": self.step,
            "bad_samples": self.bad_samples,
            "global_batch": self.global_batch,
            "world_size": self.world_size,
            "first_world_size": self.first_world_size,
            "data_fingerprint": self.data_fingerprint,
            "config": self.config,
            **parts,
        }

    def remember_sources(self, step: int, sources: list[str]) -> None:
        """Keeps a step's source lines until it is known to be finite (`forget_sources`)."""
        self._unchecked.append((step, sources))

    def forget_sources(self) -> None:
        """All steps so far are known to be finite."""
        self._unchecked.clear()

    def sources_of(self, step: int) -> list[str]:
        """Source lines of `step`, on this rank; empty if it is not among the unchecked ones."""
        return [line for at, lines in self._unchecked if at == step for line in lines]


def resume_or_start(
    loaded: LoadedConfig[RunConfig], data_fingerprint: str, ranks: Ranks
) -> tuple[CheckpointStore, TrainState]:
    """The run's checkpoints and its state: from checkpoint.resume_from, else the newest intact one, else fresh.

    Raises CheckpointError when checkpoints exist but none is intact, and ConfigError when the run was made with
    another configuration or other data and checkpoint.allow_config_change is not set.
    """
    config = loaded.config
    store = CheckpointStore(
        loaded.log_dir / "checkpoints", config.checkpoint.keep_last, ranks, config.checkpoint.save_last
    )
    own_batch = config.loader.batch_size * config.trainer.accumulate_grad_batches * ranks.world_size
    world_size = ranks.world_size
    state = TrainState(as_dict(config), data_fingerprint, own_batch, world_size, world_size)
    chosen = _choose(store, config.checkpoint.resume_from)
    if chosen is None:
        state.notes.append("fresh start: the run's folder holds no checkpoint")
        return store, state
    origin, saved = chosen
    if saved.get("format") != FORMAT:
        raise CheckpointError(
            f"{origin} has layout {saved.get('format')!r}, this version reads {FORMAT}; "
            "resume it with the version that wrote it"
        )
    _compare(saved, state, loaded, origin)
    state.step, state.bad_samples = int(saved["step"]), int(saved["bad_samples"])
    state.global_batch, state.first_world_size = int(saved["global_batch"]), int(saved["first_world_size"])
    if saved["world_size"] != world_size:
        state.notes.append(f"processes: {saved['world_size']} -> {world_size}; the samples keep their order")
    if state.global_batch != own_batch:
        state.notes.append(f"global batch stays {state.global_batch}, as the run began (this start alone: {own_batch})")
    state.saved = saved
    state.notes.insert(0, f"continues at step {state.step} from {origin}")
    return store, state


def _choose(store: CheckpointStore, resume_from: str | None) -> tuple[str, dict[str, Any]] | None:
    """(origin, content) of the checkpoint to continue from, None for a fresh start.

    The run's own newest one wins over resume_from if it descends from it, so that the same command, given again after
    a kill, goes on instead of going back. Otherwise resume_from is what the user wants; later steps in this folder are
    set aside by the next save.
    """
    found = store.load_newest()
    if found is not None and resume_from in (None, found[1]["config"]["checkpoint"]["resume_from"]):
        return str(found[0]), found[1]
    return None if resume_from is None else (resume_from, store.load_file(resume_from))


def _compare(saved: dict[str, Any], state: TrainState, loaded: LoadedConfig[RunConfig], origin: str) -> None:
    """Lists what differs from the checkpoint's configuration and data; refuses changes that affect results."""
    allowed = loaded.config.checkpoint.allow_config_change
    matter, harmless = loaded.differences_from(saved["config"])
    if saved["data_fingerprint"] != state.data_fingerprint:
        matter.append("the dataset: its videos, frames or objects are not those of the checkpoint")
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
