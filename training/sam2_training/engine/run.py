"""One rank's run: joins the other ranks, trains, and leaves a status that says how it ended."""

from __future__ import annotations

import contextlib
import functools
import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil
import torch

from sam2_training.core.errors import EXIT_PREEMPTED, HangError, TrainingError
from sam2_training.core.files import write_text
from sam2_training.core.rank_variables import RankNumbers, rank_numbers
from sam2_training.core.ranks import Ranks, process_group, ranks_from_environment
from sam2_training.core.schema import fingerprint
from sam2_training.core.shared_work import ANOTHER_ENDED, AnotherFailedError
from sam2_training.engine.checkpoint.store import newest_checkpoint
from sam2_training.engine.config import LoadedConfig, RunConfig, checkpoint_folder
from sam2_training.engine.devices import listed_gpus
from sam2_training.engine.folder_lock import folder_lock
from sam2_training.engine.hangs import ends_when_stuck, explain_hang_of_ranks, rank_with_stacks
from sam2_training.engine.logging.run_log import RunLog
from sam2_training.engine.logging.table import samples_column
from sam2_training.engine.optimizer import describe_groups
from sam2_training.engine.preemption import StopInterrupt, StopRequest
from sam2_training.engine.processes import STATUS, die_with_parent, is_torchrun_worker, write_status
from sam2_training.engine.provenance import provenance, write_provenance
from sam2_training.engine.task import BatchT, ModelT, Task
from sam2_training.engine.trainer import RunResult, Trainer

ConfigT = TypeVar("ConfigT", bound=RunConfig)
TaskFactory = Callable[[ConfigT, Ranks, Path, str], Task[BatchT, ModelT]]
"""Opens a task from the configuration, the ranks, the run's folder and the recipe's name."""


def run_rank(loaded: LoadedConfig[ConfigT], open_task: TaskFactory[ConfigT, BatchT, ModelT]) -> int:
    """Trains as one rank (the only one, or one that torchrun started); the exit code, also in run_status.json."""

    def work() -> tuple[int, str]:
        result = _train(loaded, open_task)
        return result.exit_code, "; ".join(filter(None, [f"step {result.step}", result.left_out]))

    return run_as_rank(loaded.log_dir, work)


def run_as_rank(folder: Path, work: Callable[[], tuple[int, str]]) -> int:
    """Runs `work` as one rank, the only one or one of several; its exit code, also in <folder>/run_status.json.

    work: returns the exit code and a message for the status. What it raises is recorded and raised again; but of
    several ranks that fail, only the first knows the reason: the others end with their code and without a message.
    The main rank holds the folder meanwhile: see `folder_lock`. What another start holds is not touched.
    """
    if is_torchrun_worker():
        die_with_parent()
    numbers = rank_numbers() or RankNumbers()
    with contextlib.ExitStack() as stack:
        if numbers.is_main:
            stack.enter_context(folder_lock(folder))
        if numbers.world_size > 1:
            stack.enter_context(rank_with_stacks(folder, numbers.rank))
        return _run_recorded(folder, work, numbers)


def _run_recorded(folder: Path, work: Callable[[], tuple[int, str]], numbers: RankNumbers) -> int:
    """`run_as_rank` in a folder that this start holds."""
    several = numbers.world_size > 1
    status_path = folder / STATUS
    _remove_former(status_path)
    record = functools.partial(write_status, status_path, keep_first=several)
    try:
        exit_code, message = work()
    except StopInterrupt as stop:
        record(EXIT_PREEMPTED, f"stopped by {stop}")
        raise
    except Exception as error:
        expected = error if isinstance(error, TrainingError) else _exchange_error(error)
        if expected is None:
            record(TrainingError.exit_code, traceback.format_exc(limit=-3))
            raise
        if several and isinstance(expected, HangError):
            expected = type(expected)(f"{expected}\n{explain_hang_of_ranks(folder, numbers.rank, error)}")
        is_consequence = isinstance(expected, AnotherFailedError)
        if not record(expected.exit_code, f"{expected.kind}: {expected}", is_consequence=is_consequence):
            return expected.exit_code
        if expected is error:
            raise
        raise expected from error
    record(exit_code, message)
    return exit_code


def _remove_former(status_path: Path) -> None:
    """Removes the status of an earlier start, by its age: a peer that failed at once may have written this start's."""
    with contextlib.suppress(FileNotFoundError):
        if status_path.stat().st_mtime < psutil.Process().create_time():
            status_path.unlink()


def _exchange_error(error: Exception) -> TrainingError | None:
    """The error to show if an exchange between ranks failed; None for any other error."""
    text = str(error).splitlines()[0] if str(error) else ""
    if isinstance(error, torch.distributed.DistBackendError) or "timed out" in text.lower():
        return HangError(f"an exchange between the ranks timed out: {text}")
    is_gone = isinstance(error, torch.distributed.DistNetworkError)
    if is_gone or "closed by peer" in text.lower() or "connection reset" in text.lower():
        return AnotherFailedError(ANOTHER_ENDED)
    return None


def _train(loaded: LoadedConfig[ConfigT], open_task: TaskFactory[ConfigT, BatchT, ModelT]) -> RunResult:
    config = loaded.config
    ranks = ranks_from_environment(config.trainer.accelerator, listed_gpus(config))
    torch.use_deterministic_algorithms(config.trainer.deterministic)
    stuck = ends_when_stuck(config.loader.timeout_minutes, loaded.log_dir, ranks.rank)
    with stuck, process_group(ranks, config.trainer.collective_timeout_minutes * 60):
        task = open_task(config, ranks, loaded.log_dir, loaded.name)
        trainer = Trainer(loaded, task, ranks)
        with StopRequest() as stop, contextlib.closing(_open_log(loaded, task, trainer)) as log:
            log.banner(list(_start_summary(loaded, task, trainer)))
            try:
                result = trainer.fit(log, stop)
            except TrainingError as error:
                trainer.close_failed(error, log)
                raise
            lines = trainer.close(result, log)
            log.end_banner([*_end_summary(loaded, task, result), f"memory      {_resident_text()} resident", *lines])
        # Whoever is faster waits, so that no rank takes the connection from under another one.
        ranks.barrier()
    return result


def _open_log(loaded: LoadedConfig[ConfigT], task: Task[BatchT, ModelT], trainer: Trainer[BatchT, ModelT]) -> RunLog:
    """The run's log, with the configuration and the provenance written beside it."""
    config, ranks, folder = loaded.config, trainer.ranks, loaded.log_dir
    log = RunLog(folder, ranks, trainer.plan, samples_column(task.sample_noun), task.columns())
    composed, resolved = folder / "config.yaml", folder / "config_resolved.yaml"
    log.write_once(composed, lambda: write_text(composed, loaded.composed_yaml))
    log.write_once(resolved, lambda: write_text(resolved, loaded.resolved_yaml()))
    made_by = provenance(fingerprint(config), task.data_fingerprint(), config.seed, ranks, task.packages)
    made_path = folder / "provenance.json"
    log.write_once(made_path, lambda: write_provenance(made_path, made_by))
    return log


def _start_summary(
    loaded: LoadedConfig[ConfigT], task: Task[BatchT, ModelT], trainer: Trainer[BatchT, ModelT]
) -> Iterator[str]:
    """The lines of the start banner; "# " marks a heading."""
    ranks, config = trainer.ranks, loaded.config
    yield f"# {task.title}: {loaded.name}"
    yield from (f"WARNING: {note}" for note in loaded.notes)
    yield from trainer.state.notes
    yield "# device"
    name = torch.cuda.get_device_name(ranks.device) if ranks.device.type == "cuda" else f"{_cores()} CPU core(s)"
    processes = f"{ranks.world_size} process(es) on {name}"
    yield f"{processes}, precision {trainer.precision.name}, resident memory {_resident_text()}"
    yield "# data"
    yield from task.describe_data()
    yield "# network"
    yield from task.describe_model(trainer.model)
    yield "# optimizer"
    yield from describe_groups(trainer.optimizer)
    if config.trainer.ema_decay is not None:
        yield f"validated and saved as the result: the weights' average, trainer.ema_decay={config.trainer.ema_decay:g}"
    yield (
        f"{trainer.plan.total_steps} steps ({trainer.plan.steps_per_epoch} per epoch), "
        f"batch {trainer.state.global_batch} ({config.loader.batch_size} per device at once)"
    )
    yield "# where things go"
    written = [f"{checkpoint_folder(config, loaded.log_dir).relative_to(loaded.log_dir)}/", "metrics.csv"]
    written += ["tensorboard/"] if config.trainer.logger else []
    yield "  ".join([f"{loaded.log_dir}/", *written, "logs/", "config_resolved.yaml"])


def _end_summary(loaded: LoadedConfig[ConfigT], task: Task[BatchT, ModelT], result: RunResult) -> Iterator[str]:
    """The lines of the end banner."""
    if result.exit_code == EXIT_PREEMPTED:
        saved = "everything is saved" if result.step else "there is nothing to save yet"
        if not loaded.config.trainer.enable_checkpointing:
            saved = "nothing is saved (trainer.enable_checkpointing=false)"
        yield f"Stopped on request after step {result.step}; {saved}. The same command continues."
    else:
        yield f"Finished after step {result.step}{': ' + result.reason if result.reason else ''}."
    if result.left_out:
        yield f"{result.left_out}."
    trainer = loaded.config.trainer
    if not trainer.enable_checkpointing or trainer.limit_train_batches == 0:
        return  # nothing was saved
    checkpoint_path = str(newest_checkpoint(loaded.config, loaded.log_dir))
    yield f"checkpoint  {checkpoint_path}"
    yield "Load it with:"
    yield from (f"  {line}" for line in task.usage_snippet(checkpoint_path))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _resident_text() -> str:
    return f"{psutil.Process().memory_info().rss / 2**20:.0f} MiB"
