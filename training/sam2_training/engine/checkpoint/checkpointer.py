"""Saving and restoring a run: when the state is saved, what happens if that fails, and where a start begins."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sam2_training.core.errors import CheckpointError
from sam2_training.core.ranks import Ranks
from sam2_training.core.schema import as_dict
from sam2_training.engine.checkpoint.last_save import read_last_save, refuse_lost_checkpoints, write_last_save
from sam2_training.engine.checkpoint.state import FORMAT, TrainState, compare, with_more_steps
from sam2_training.engine.checkpoint.store import CheckpointStore, SaveFailed
from sam2_training.engine.config import LoadedConfig, RunConfig, checkpoint_folder
from sam2_training.engine.grouped_order import global_batches
from sam2_training.engine.plan import RunPlan
from sam2_training.engine.task import SampleGroup
from sam2_training.engine.weights import RunWeights

log = logging.getLogger(__name__)


class Stateful(Protocol):
    """A part of a run with a state of its own: plain values and tensors."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


class Checkpointer:
    """Decides when to save, saves, and finds what a start continues from. Used by all ranks alike.

    A few saves in a row may fail (disk full): that is logged and training continues.
    """

    def __init__(self, loaded: LoadedConfig[RunConfig], ranks: Ranks) -> None:
        config = loaded.config
        self.loaded, self.config, self.ranks = loaded, config, ranks
        self.store = CheckpointStore(
            checkpoint_folder(config, loaded.log_dir), config.checkpoint.keep_last, ranks, config.checkpoint.save_last
        )
        self.failed_in_a_row = 0
        self._newest: tuple[int, str] | None = None
        """(step, file) of the newest state that is saved, as far as this start knows."""
        self._last_save_seconds = time.monotonic()
        self._found: dict[str, Any] | None = None
        """The checkpoint this start continues from, until its tensors have been taken."""

    def resume_or_start(self, fingerprints: dict[str, str], groups: Sequence[SampleGroup] = ()) -> TrainState:
        """The run's state: from checkpoint.resume_from, else the newest intact checkpoint, else fresh.

        groups: those of the training data, whose global batches are fixed at the first start too.
        Raises CheckpointError when checkpoints exist but none is intact, and ConfigError when the run was made with
        another configuration or other data and checkpoint.allow_config_change is not set.
        """
        config, world_size = self.config, self.ranks.world_size
        num_batches = config.trainer.accumulate_grad_batches * world_size
        own_batch = config.loader.batch_size * num_batches
        state = TrainState(as_dict(config), fingerprints, own_batch, world_size, world_size)
        state.group_batches = global_batches(groups, config.loader.batch_size, num_batches)
        state.batches_per_step = config.trainer.accumulate_grad_batches
        if not config.trainer.enable_checkpointing:
            state.notes.append(
                "WARNING: trainer.enable_checkpointing=false: no state and no weights are saved, so it cannot continue"
            )
        chosen = self._choose()
        if chosen is None:
            state.notes.append("fresh start: the run's folder holds no checkpoint")
            return state
        origin, saved = chosen
        if saved.get("format") != FORMAT:
            raise CheckpointError(
                f"{origin} has layout {saved.get('format')!r}, this version reads {FORMAT}; "
                "resume it with the version that wrote it"
            )
        if self._is_finished(int(saved["step"])):
            saved["config"] = with_more_steps(saved["config"], int(saved["step"]), state, self.config)
        compare(saved, state, self.loaded, origin)
        state.step, state.bad_samples = int(saved["step"]), int(saved["bad_samples"])
        state.global_batch, state.first_world_size = int(saved["global_batch"]), int(saved["first_world_size"])
        if state.group_batches:
            state.group_batches = tuple(saved.get("group_batches", state.group_batches))
        state.batches_per_step = int(saved.get("batches_per_step", 1))  # earlier versions counted steps
        if saved["world_size"] != world_size:
            state.notes.append(f"processes: {saved['world_size']} -> {world_size}; the samples keep their order")
        if state.global_batch != own_batch:
            state.notes.append(
                f"global batch stays {state.global_batch}, as the run began (this start alone: {own_batch})"
            )
        state.notes.insert(0, f"continues at step {state.step} from {origin}")
        self._newest = state.step, origin
        self._found = saved
        return state

    def restore(self, weights: RunWeights[Any], parts: Mapping[str, Stateful]) -> None:
        """Puts the state that `resume_or_start` found into weights and parts; a fresh start leaves them as they are.

        A part that the checkpoint does not have, such as a validation that is new, starts fresh.
        """
        self._last_save_seconds = time.monotonic()
        if self._found is None:
            return
        weights.restore(self._found)
        for name, part in parts.items():
            if name in self._found:
                part.load_state_dict(self._found[name])
        self._found = None  # its tensors would otherwise stay in memory for the whole run

    def should_save(self, step: int, plan: RunPlan) -> bool:
        """Whether to save after `step`: where the plan says so, or by time. The same on every rank."""
        if plan.saves_at(step):
            return True
        minutes = self.config.checkpoint.every_n_minutes
        if minutes is None:
            return False
        return self.ranks.any_says((time.monotonic() - self._last_save_seconds) / 60 >= minutes)

    def save(self, state: TrainState, weights: RunWeights[Any], parts: Mapping[str, Stateful], is_last: bool) -> None:
        """Saves. is_last: nothing follows that could be saved later.

        Raises CheckpointError on all ranks after too many failures in a row, or if the last save fails.
        """
        self._last_save_seconds = time.monotonic()
        trainer = self.config.trainer
        if not trainer.enable_checkpointing or trainer.limit_train_batches == 0:
            return
        content = weights.state() | state.to_save() | {name: part.state_dict() for name, part in parts.items()}
        try:
            path = self.store.save(state.step, content.pop("model"), content)
        except SaveFailed as error:  # on every rank together
            self._count_failure(state.step, error, is_last)
        else:
            self.failed_in_a_row, self._newest = 0, (state.step, str(path))
            self.ranks.on_main(lambda: write_last_save(self.loaded.log_dir, state.step, finished=False))

    def _choose(self) -> tuple[str, dict[str, Any]] | None:
        """(origin, content) of the checkpoint to continue from, None for a fresh start.

        The run's own newest one wins over resume_from if it descends from it, so that the same command, given again
        after a kill, continues instead of going back. Otherwise resume_from is what the user wants; later steps in this
        folder are set aside by the next save.
        """
        resume_from = self.config.checkpoint.resume_from
        try:
            found = self.store.load_newest()
        except CheckpointError:
            if resume_from is None:
                raise
            found = None  # none is intact, and the user names one
        if found is not None and resume_from in (None, found[1]["config"]["checkpoint"]["resume_from"]):
            return str(found[0]), found[1]
        if resume_from is not None:
            return resume_from, self.store.load_file(resume_from)
        self.store.on_main(lambda: refuse_lost_checkpoints(self.loaded.log_dir, self.store.folder))
        return None

    def _is_finished(self, step: int) -> bool:
        """Whether this folder's run ended by itself with the checkpoint of `step`."""
        last = self.store.on_main(lambda: read_last_save(self.loaded.log_dir))
        return last is not None and last.finished and last.step == step

    def mark_finished(self, step: int) -> None:
        """Records that the run ended by itself after `step`."""
        if not self.config.trainer.enable_checkpointing:
            return
        self.ranks.on_main(lambda: write_last_save(self.loaded.log_dir, step, finished=True))

    def _count_failure(self, step: int, failure: SaveFailed, is_last: bool) -> None:
        self.failed_in_a_row += 1
        log.warning("step %d could not be saved (%d in a row): %s", step, self.failed_in_a_row, failure)
        if self.failed_in_a_row >= self.config.checkpoint.max_failed_saves or is_last:
            if self._newest is None:
                saved = "Nothing of this run is saved: the same command starts again at step 0."
            else:
                saved = f"The newest saved state is of step {self._newest[0]} ({self._newest[1]}): the same command "
                saved += "continues there."
            raise CheckpointError(
                f"{self.failed_in_a_row} save(s) in a row failed, the last one: {failure} Free some space first. "
                f"{saved}"
            )
