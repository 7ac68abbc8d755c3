"""The checkpoints of a run: once the first is written, an intact one is on the disk at every moment."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from iopath.common.file_io import g_pathmgr
from torch import Tensor

from sam2_training.core.errors import CheckpointError, ConfigError, TrainingError
from sam2_training.core.files import sha256_of
from sam2_training.core.ranks import Ranks
from sam2_training.engine.checkpoint import files
from sam2_training.engine.config import RunConfig, checkpoint_folder

T = TypeVar("T")
STEP_FILE = re.compile(r"step_(\d{8,})\.pt")
TRACE = re.compile(r"step_\d{8,}\.pt(\..+)?|checkpoint\.pt|last\.pt")
NEWEST = "checkpoint.pt"
LAST = "last.pt"


def newest_checkpoint(config: RunConfig, log_dir: Path) -> Path:
    """The file with the newest intact state of a run, for whoever loads the result."""
    return checkpoint_folder(config, log_dir) / NEWEST


log = logging.getLogger(__name__)


class SaveFailed(OSError):
    """A checkpoint could not be written (disk full, no permission); older ones are untouched, no partial file is left.

    Raised on every rank together.
    """


class CheckpointStore:
    """The folder of a run's checkpoints: step_00000123.pt with its SHA-256 beside it, and checkpoint.pt.

    checkpoint.pt is another name (hard link) of the newest intact one. A save writes under a temporary name, reads the
    file back, records its hash, and only then renames it; older ones are removed last. Files with other names, such as
    best_*.pt, are never touched. Damaged and abandoned checkpoints are renamed, not removed:

    - *.corrupt: the hash does not match (truncated, flipped bits, empty);
    - *.superseded: later steps of a run that was continued from an earlier step.

    A checkpoint without its .sha256 cannot be told from a damaged one: it is neither used automatically nor renamed;
    name it in checkpoint.resume_from to use it. The folder is local: a safe save needs rename, fsync and hard links.
    """

    def __init__(self, folder: Path, keep_last: int, ranks: Ranks, name_last: bool = False) -> None:
        """keep_last: newest states to keep. name_last: give the newest one also the name last.pt."""
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(folder)):
            raise ConfigError(
                f"launcher.experiment_log_dir leads to {folder}, which is not a local folder. Checkpoints must be "
                "replaced atomically, and only a local file system can do that. Train into a local folder and copy."
            )
        if keep_last < 2:
            raise ConfigError(f"checkpoint.keep_last={keep_last} must be at least 2: one may turn out damaged")
        self.folder = folder
        self.keep_last = keep_last
        self.names = (NEWEST, LAST) if name_last else (NEWEST,)
        self.ranks = ranks

    def save(self, step: int, model: dict[str, Tensor], state: dict[str, Any]) -> Path:
        """The path of the new checkpoint, which is {"model": model, "step": step, **state}.

        Called on all ranks with values of which the main rank's count; state holds tensors and plain values only, or
        TypeError is raised, because it would not load again. The run is now at `step`: files of later steps, left from
        before it was continued from an earlier one, are renamed *.superseded. Raises SaveFailed on all ranks; training
        can go on then.
        """
        path = self.folder / f"step_{step:08d}.pt"

        def write() -> Path:
            files.check_plain(state, "state")
            try:
                self._write(path, {"model": model, "step": step, **state})
                self._supersede_after(step)
                self._prune()
            except OSError as error:
                raise SaveFailed(self._save_problem(path, error)) from error
            return path

        return self.on_main(write)

    def load_newest(self) -> tuple[Path, dict[str, Any]] | None:
        """The newest intact checkpoint and its content (tensors on the CPU), for every rank the same; None if new.

        Damaged ones are reported, renamed *.corrupt and passed over. Raises CheckpointError when there are or were
        checkpoints and none is intact: a run never starts again at step 0 by itself.
        """

        def find() -> Path | None:
            try:
                return self._newest_intact()
            except OSError as error:
                raise CheckpointError(f"the checkpoints in {self.folder} cannot be read: {error}") from error

        path = self.on_main(find)
        return None if path is None else (path, files.read_checkpoint(path, str(path)))

    def load_file(self, path: str) -> dict[str, Any]:
        """The content of a checkpoint of a run, for checkpoint.resume_from; path may be in any store iopath knows.

        Raises CheckpointError if it is missing, damaged, unsafe, or holds no training state. Its hash is checked if
        there is a .sha256 beside it, or beside another name of the same file.
        """
        if g_pathmgr.isdir(path):
            raise CheckpointError(f"{path} is a folder; give the path of a checkpoint file in it, such as {NEWEST}")
        if not g_pathmgr.isfile(path):
            raise CheckpointError(f"there is no checkpoint at {path}; check checkpoint.resume_from")
        local = Path(g_pathmgr.get_local_path(path))
        expected = _hashes_for(path, local)
        unproven = None if expected else files.zip_problem(local)
        if unproven is not None:
            raise CheckpointError(f"{path} is damaged: {unproven}. Use another checkpoint, or copy it again.")
        if expected and sha256_of(local) not in expected:
            raise CheckpointError(
                f"{path} is damaged: its SHA-256 is not the one recorded when it was written. Use another checkpoint, "
                "or copy it again from where it came from."
            )
        content = files.read_checkpoint(local, path)
        if "step" not in content:
            if "model" in content:
                raise CheckpointError(
                    f"{path} has weights but no training state; use model.checkpoint={path} to start from its weights"
                )
            raise CheckpointError(f"{path} is not a checkpoint of a training run: it has no 'model' and no 'step'")
        return content

    def on_main(self, work: Callable[[], T]) -> T:
        """Runs work on the main rank; returns its result, or raises its expected error, on every rank."""
        result: tuple[T | None, Exception | None] = (None, None)
        if self.ranks.is_main:
            try:
                result = (work(), None)
            except (TrainingError, SaveFailed) as error:
                result = (None, error)
        value, failure = self.ranks.from_main(result)
        if failure is not None:
            raise failure
        return value  # type: ignore[no-any-return]

    def _steps(self) -> dict[int, Path]:
        """Finished checkpoints by step, newest first."""
        if not self.folder.is_dir():
            return {}
        found = {int(match[1]): path for path in self.folder.iterdir() if (match := STEP_FILE.fullmatch(path.name))}
        return dict(sorted(found.items(), reverse=True))

    def _write(self, path: Path, content: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers()
        try:
            files.replace_checkpoint(path, content)
            for name in self.names:
                files.point_to(self.folder / name, path)
        except BaseException:
            self._remove_leftovers()
            raise

    def _remove_leftovers(self) -> None:
        """Removes what a killed or failed save left: temporary files, and hashes of files that never came to be."""
        for path in self.folder.glob(".*.tmp"):
            if TRACE.fullmatch(path.name[1 : -len(".tmp")]):
                files.remove(path)
        for sidecar in self.folder.glob("step_*.sha256"):
            if not sidecar.with_suffix("").exists():
                files.remove(sidecar)

    def _supersede_after(self, step: int) -> None:
        for later, path in self._steps().items():
            if later > step:
                aside = files.set_aside_with_hash(path, "superseded")
                log.warning("%s is of a later step than the run is now at (%d): renamed %s", path, step, aside.name)

    def _prune(self) -> None:
        for path in list(self._steps().values())[self.keep_last :]:
            # In this order: a hash without a file is harmless, a file without a hash would look damaged.
            files.remove(path)
            files.remove(files.hash_path(path))

    def _newest_intact(self) -> Path | None:
        if not self.folder.is_dir():
            return None
        self._remove_leftovers()
        problems = []
        for path in self._steps().values():
            problem = _problem_of(path)
            if problem is None:
                if not (self.folder / NEWEST).exists() or not (self.folder / NEWEST).samefile(path):
                    files.point_to(self.folder / NEWEST, path)
                return path
            if files.hash_path(path).exists():
                aside = files.set_aside_with_hash(path, "corrupt")
                problem = f"{problem}; renamed {aside.name}"
            problems.append(f"{path.name}: {problem}")
            log.warning("checkpoint %s is not used: %s", path, problem)
        traces = [path.name for path in self.folder.iterdir() if TRACE.fullmatch(path.name)]
        if not traces:
            return None
        raise CheckpointError(
            f"no intact checkpoint in {self.folder}\n"
            + "".join(f"  {line}\n" for line in problems or sorted(traces))
            + self._cure(traces)
        )

    def _cure(self, traces: list[str]) -> str:
        """What to do when no checkpoint is intact; it names a file that is not known to be damaged, if there is one."""
        unproven = [name for name in traces if name.endswith(".pt")] + [
            name for name in traces if ".superseded" in name
        ]
        candidates = [name for name in (NEWEST, *sorted(unproven, reverse=True)) if name in unproven]
        example = self.folder / candidates[0] if candidates else "<path of a copy>"
        return (
            f"If you trust it, continue from one that you name: checkpoint.resume_from={example}. To start again from "
            f"step 0, move {self.folder.parent} away, or give another folder with launcher.experiment_log_dir."
        )

    def _save_problem(self, path: Path, error: OSError) -> str:
        try:
            free = f"{shutil.disk_usage(self.folder).free / 2**30:.2f} GiB free"
        except OSError:
            free = "the folder cannot be read"
        return f"could not save {path}: {error} ({free}). Older checkpoints are untouched."


def _problem_of(path: Path) -> str | None:
    """Why a checkpoint is not intact; None if it is."""
    expected = files.recorded_hashes(path)
    if not expected:
        has_sidecar = files.hash_path(path).exists()
        return f"its {files.hash_path(path).name} is {'damaged' if has_sidecar else 'missing'}"
    try:
        if path.stat().st_size == 0:
            return "it is empty"
        return None if sha256_of(path) in expected else "its SHA-256 does not match"
    except PermissionError as error:
        raise CheckpointError(f"{path} may not be read by this user: {error}. Change its permissions.") from error
    except OSError as error:
        return f"it cannot be read ({error})"


def _hashes_for(path: str, local: Path) -> set[str]:
    """Hashes that a file may have, from its own sidecar or that of another name of it; empty if there is none."""
    if g_pathmgr.isfile(f"{path}.sha256"):
        with g_pathmgr.open(f"{path}.sha256", "r") as file:
            return files.parse_hashes(file.read())
    for other in local.parent.glob("step_*.pt"):
        if other.samefile(local):
            return files.recorded_hashes(other)
    return set()
