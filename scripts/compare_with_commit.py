"""Proves that a change moves no number: trains with two versions of the code and compares the results bit for bit.

    .venv/bin/python scripts/compare_with_commit.py                         # the working tree against commit 215ecb8
    .venv/bin/python scripts/compare_with_commit.py --head my_branch --cases demo,validation --resume-old

Both versions run on this machine, with this interpreter, on the same files, each in a folder of its own. They are
started only as users start them, and only files that users know are read, so that this works across any rearrangement
of the code. Exit code 0: all equal; 1: something differs or failed; 2: nothing could be run.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

REPOSITORY = Path(__file__).resolve().parents[1]
TIMEOUT_SECONDS = 300
LATER_FRAMES = shutil.ignore_patterns("0000[6-9].*", "000[1-9]?.*")  # six frames of a video are enough, and quick
NOT_RESULTS = ("seconds", "memory", "reason")  # in names of columns of timings, sizes, and sentences for people
LABELS = ("step", "file", "video", "object", "of")  # columns that say what a row is about
SHOWN = ("total", "j_and_f", "sha256")  # columns that are printed side by side
# One thread for torch, because how a sum is split over threads decides its last bits; and no code from elsewhere.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": ""}

TUNE, DEMO = "sam2.1_training/custom_finetune", "sam2.1_training/demo"
CLIPS = ("dataset.img_folder=../../clips/JPEGImages", "dataset.gt_folder=../../clips/Annotations")
DAMAGED = ("dataset.img_folder=../../damaged/JPEGImages", "dataset.gt_folder=../../damaged/Annotations")
SMALL = (
    *("model.name=architecture/tiny.yaml", "model.checkpoint=null", "trainer.accelerator=cpu"),
    *("scratch.resolution=64", "scratch.num_frames=3", "scratch.num_epochs=2", "scratch.num_train_workers=0"),
    *("scratch.base_lr=1e-4", "scratch.vision_lr=1e-4", "dataset.val_fraction=0"),
)
SHORT = ("trainer.accelerator=cpu", "trainer.max_steps=60", "trainer.limit_val_batches=0")
ACCUMULATE = ("scratch.train_batch_size=2", "trainer.accumulate_grad_batches=2")
SKIP = ("scratch.train_batch_size=2", "dataset.on_bad_sample=skip", "dataset.max_bad_fraction=0.1")
# Random weights draw masks that miss by chance; those of a few steps draw nothing, which scores 0 in any version.
UNLEARNED = ("scratch.base_lr=1e-6", "scratch.vision_lr=1e-6")
VALIDATE = ("dataset.val_fraction=0.2", "trainer.val_check_interval=18")
Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Case:
    """A way to train that both versions must do alike."""

    title: str
    recipe: str
    overrides: tuple[str, ...]
    num_gpus: int = 1
    evaluates: bool = False
    must_name: str = ""  # in the output, or else the case did not do what it is for


CASES = {
    "demo": Case("the demo's first 60 steps", DEMO, SHORT),
    "one_process": Case("real clips, one process", TUNE, (*SMALL, *CLIPS, "scratch.resolution=128")),
    "two_processes": Case("real clips, two processes", TUNE, (*SMALL, *CLIPS, "scratch.num_train_workers=1"), 2),
    "accumulation": Case("real clips, two batches of two in a step", TUNE, (*SMALL, *CLIPS, *ACCUMULATE)),
    "bad_sample": Case("one damaged frame", TUNE, (*SMALL, *DAMAGED, *SKIP), must_name="damaged/JPEGImages/"),
    "validation": Case("validations, evaluate.py", TUNE, (*SMALL, *CLIPS, *UNLEARNED, *VALIDATE), evaluates=True),
}


@dataclass
class Run:
    """One version's run of a case in a folder of its own, and what came of it."""

    code_root: Path
    case: Case
    cwd: Path
    stop_after: int | None = None  # rows of metrics.csv after which it is asked to stop (SIGTERM)
    exit_code: int = 0
    output: str = ""
    tables: dict[str, Rows] = field(default_factory=dict)  # by file; as text, because equal text is equal bits

    @property
    def folder(self) -> Path:
        return self.cwd / "sam2_logs" / self.case.recipe

    def start(self, script: str) -> subprocess.Popen[bytes]:
        more = ["--num-gpus", str(self.case.num_gpus)]
        if script == "evaluate.py":  # all videos, and another prompt than in validations
            more = ["dataset.val_fraction=0", "--prompt", "click:2"]
            more += ["--checkpoint", str(self.folder / "checkpoints" / "checkpoint.pt")]
        words = [sys.executable, str(self.code_root / "training" / script), "-c", self.case.recipe]
        self.cwd.mkdir(parents=True, exist_ok=True)
        with (self.cwd / "output.txt").open("wb") as output:  # a pipe would fill up while nobody reads it
            return subprocess.Popen(
                [*words, *self.case.overrides, *more],
                cwd=self.cwd,
                env={**os.environ, **ENVIRONMENT},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C comes here first, and `end` passes it on
            )

    def stop_due(self) -> bool:
        path = self.folder / "metrics.csv"
        return self.stop_after is not None and path.exists() and path.read_bytes().count(b"\n") > self.stop_after


def carry_out(runs: Sequence[Run], script: str = "train.py") -> None:
    """Runs at the same time, which halves the wait on two cores; no process outlives this call."""
    processes: list[subprocess.Popen[bytes]] = []
    until = time.monotonic() + TIMEOUT_SECONDS
    try:
        for run in runs:
            processes.append(run.start(script))
        while any(process.poll() is None for process in processes) and time.monotonic() < until:
            for run, process in zip(runs, processes, strict=True):
                if run.stop_due():
                    process.send_signal(signal.SIGTERM)
                    run.stop_after = None
            time.sleep(0.05)
    finally:
        for process in processes:
            end(process)
    for run, process in zip(runs, processes, strict=True):
        run.exit_code, run.output = process.returncode, (run.cwd / "output.txt").read_text(errors="replace")
        run.output += f"\nended after {TIMEOUT_SECONDS} s" if time.monotonic() >= until else ""


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that still runs: politely, so that it ends its own children, then by force."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, how)
                process.wait(15)


def read_results(run: Run) -> str:
    """Reads what a run left; the problem with it, if any: two runs without numbers are not equal."""
    if run.exit_code != 0:
        return last_words(run)
    try:
        run.tables = {"metrics.csv": read_csv(run.folder / "metrics.csv")}
        for path in sorted(run.folder.glob("evaluation/*/step_*.json")):
            run.tables.setdefault(f"evaluation/{path.parent.name}/step_*.json", []).append(read_scores(path))
        for path in sorted(run.folder.glob("evaluation/*/scores.csv")):
            run.tables[path.relative_to(run.folder).as_posix()] = read_csv(path)
        run.tables["checkpoints"] = list(checkpoint_hashes(run.folder / "checkpoints"))
    except Exception as error:  # on a file of another kind, torch and json raise anything
        return f"its files cannot be read: {type(error).__name__}: {error}"
    if not all(run.tables.values()) or (run.case.evaluates and len(run.tables) < 4):
        return f"numbers are missing, there are only: {', '.join(name for name, rows in run.tables.items() if rows)}"
    return "" if run.case.must_name in run.output else f"the output does not name the clip in {run.case.must_name}"


def last_words(run: Run) -> str:
    """How a run ended: the last error that it told in a sentence, or else its last lines."""
    lines = run.output.rstrip().splitlines()
    errors = [number for number, line in enumerate(lines) if "rror: " in line or line.endswith("rror:")]
    told = lines[errors[-1] :] if errors and "Traceback" not in run.output else lines[-25:]
    return "\n    | ".join([f"exit code {run.exit_code}", *told])


def read_csv(path: Path) -> Rows:
    """The rows of a file as text, without the columns that are no results."""
    with path.open(newline="") as file:
        return [results_only(row) for row in csv.DictReader(file)]


def results_only(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not any(word in name for word in NOT_RESULTS)}


def read_scores(path: Path) -> dict[str, str]:
    """A validation's scores as a row: its metrics, and a hash of the scores of all objects and frames."""
    scores = json.loads(path.read_text(), object_hook=results_only)
    metrics = {name: repr(value) for name, value in scores.pop("values").items()}
    others = hashlib.sha256(json.dumps(scores, sort_keys=True).encode()).hexdigest()
    return {"file": path.name, **metrics, "objects and frames": others}


def checkpoint_hashes(folder: Path) -> Iterator[dict[str, str]]:
    """SHA-256 of the final weights, of the optimizer's state, and of the best weights."""
    saved = torch.load(folder / "checkpoint.pt", weights_only=True)
    yield {"of": "weights", "sha256": tensor_hash(saved.pop("model"))}
    yield {"of": "optimizer", "sha256": tensor_hash(saved)}
    for path in sorted(folder.glob("best_*.pt")):
        yield {"of": path.stem, "sha256": tensor_hash(torch.load(path, weights_only=True)["model"])}


def tensor_hash(state: Any) -> str:
    """SHA-256 over name, type, shape and bytes of all tensors in a state. Raises ValueError if there are none."""
    digest, ordered = hashlib.sha256(), sorted(tensors(state, ()), key=lambda pair: pair[0])
    if not ordered:
        raise ValueError("the checkpoint has no tensors of the weights, or none of the optimizer")
    for name, tensor in ordered:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def tensors(value: Any, place: tuple[str, ...]) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, tensor) of all in a nested state. A name is the last two keys: parameter and slot, wherever they lie."""
    if isinstance(value, torch.Tensor):
        yield " ".join(place[-2:]), value
    for name, part in value.items() if isinstance(value, dict) else ():
        yield from tensors(part, (*place, str(name)))


def compare(base: Run, head: Run) -> bool:
    """Prints the results of two ended runs side by side, and what differs first; whether all is equal."""
    problems = {"base": read_results(base), "head": read_results(head)}
    if any(problems.values()):
        print("\n".join(f"  FAILED, {name}: {problem}" for name, problem in problems.items() if problem))
        return False
    different = 0
    for name in base.tables | head.tables:
        first, second = base.tables.get(name, []), head.tables.get(name, [])
        print(f"  {name + f' ({len(first)} rows)':<44} {'base':<24} head")
        several = range(min(len(first), len(second)))
        for number in sorted({*several[:2], *several[2 : -1 : max(1, len(several) // 3)], *several[-1:]}):
            shown = next((column for column in SHOWN if column in first[number]), "")
            label = " ".join([*(first[number][part] for part in LABELS if part in first[number]), shown])
            values = [rows[number].get(shown, "absent")[: 12 if shown == "sha256" else 24] for rows in (first, second)]
            print(f"    {label:<42} {values[0]:<24} {values[1]}")
        difference = first_difference(first, second)
        print(f"    DIFFERENT: {difference}" if difference else "    equal")
        different += bool(difference)
    return different == 0


def first_difference(base: Rows, head: Rows) -> str:
    """Where two tables differ first; empty if nowhere."""
    for first, second in zip(base, head, strict=False):
        for column in first | second:
            values = [row.get(column, "absent") for row in (first, second)]
            if values[0] != values[1]:
                label = " ".join(f"{part} {first[part]}" for part in LABELS if part in first)
                return f"first at {label}, column {column}: {values[0][:24]} | {values[1][:24]}"
    return "" if len(base) == len(head) else f"{len(base)} rows | {len(head)} rows"


def resume_old(base: Path, head: Path, folder: Path) -> str:
    """How head deals with a run that base began and stopped: it goes on to the same bits, or says why it does not."""
    case = CASES["one_process"]
    whole, old = Run(base, case, folder / "whole"), Run(base, case, folder / "old", stop_after=12)
    carry_out([whole, old])
    if old.exit_code != 75:
        return f"FAILED, base did not stop on request: {last_words(old)}"
    metrics, resumed = old.folder / "metrics.csv", Run(head, case, old.cwd)
    before = metrics.read_bytes()
    carry_out([resumed])
    if resumed.exit_code in (2, 4, 6) and "Traceback" not in resumed.output:
        return f"refused with a sentence: {last_words(resumed)}"
    if resumed.exit_code == 0 and not metrics.read_bytes().startswith(before):  # it has the old steps' times
        return "FAILED, head began anew instead of going on"
    steps = len(before.splitlines()) - 1
    print(f"\nresume_old: base never stopped; head went on with a run that base stopped after {steps} steps")
    return "resumed, bit for bit equal to one that was never stopped" if compare(whole, resumed) else "FAILED"


@contextlib.contextmanager
def checked_out(wanted: str, folder: Path) -> Iterator[Path]:
    """The code of a commit in a work tree that is removed at the end; "." is this repository as it is."""
    if wanted == ".":
        yield REPOSITORY
        return
    git = ("git", "-C", str(REPOSITORY), "worktree")
    try:
        if subprocess.run([*git, "add", "--quiet", "--detach", str(folder), wanted], check=False).returncode != 0:
            sys.exit(2)  # git has said why
        yield folder
    finally:
        # Forced twice, because git locks one that Ctrl-C left half made.
        subprocess.run([*git, "remove", "--force", "--force", str(folder)], check=False, capture_output=True)


def copy_data(source: Path, clips: Path, damaged: Path) -> bool:
    """Copies the first frames of all videos; and again, with a middle one damaged. False if there are no videos."""
    for part in (source, source / "vos", source / "vos_short"):
        if (part / "JPEGImages").is_dir():
            for kind in ("JPEGImages", "Annotations"):
                shutil.copytree(part / kind, clips / kind, dirs_exist_ok=True, ignore=LATER_FRAMES)
    if clips.exists():
        shutil.copytree(clips, damaged)
        frames = min((sorted(video.iterdir()) for video in sorted((damaged / "JPEGImages").iterdir())), key=len)
        middle = frames[len(frames) // 2]  # of five: every clip of three has it
        os.truncate(middle, middle.stat().st_size // 2)
    return clips.exists()


def run_case(name: str, base: Path, head: Path, folder: Path) -> bool:
    """Whether both versions do a case alike."""
    case, began = CASES[name], time.monotonic()
    runs = Run(base, case, folder / "base"), Run(head, case, folder / "head")
    carry_out(runs)
    if case.evaluates and not any(run.exit_code for run in runs):
        carry_out(runs, "evaluate.py")
    print(f"\n{name}: {case.title} ({time.monotonic() - began:.0f} s)", flush=True)
    equal = compare(*runs)
    shutil.rmtree(folder)  # checkpoints are large
    return equal


def leave(number: int, _: Any) -> None:
    """Ends at a signal, but ends and removes everything first, and is not disturbed in that by a second one."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare what two versions of the code compute, bit for bit.")
    parser.add_argument("--base", default="215ecb8", metavar="COMMIT", help="whom to believe (default: %(default)s)")
    parser.add_argument("--head", default=".", metavar="COMMIT", help="default: the working tree")
    parser.add_argument("--cases", default=",".join(CASES), help="some of %(default)s")
    data = os.environ.get("SAM2_TEST_DATA", REPOSITORY.parent / "shared" / "data")
    parser.add_argument("--data", default=data, type=Path, help="default: $SAM2_TEST_DATA or %(default)s")
    parser.add_argument("--resume-old", action="store_true", help="also go on with a run of base with head")
    asked = parser.parse_args()
    names = [name for name in asked.cases.split(",") if name]
    if unknown := sorted(set(names) - set(CASES)):
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="compare_", ignore_cleanup_errors=True)))
        if not copy_data(asked.data, folder / "clips", folder / "damaged"):
            parser.error(f"no JPEGImages/ in {asked.data}: set --data or SAM2_TEST_DATA to the folder that holds it")
        base = stack.enter_context(checked_out(asked.base, folder / "base_code"))
        head = stack.enter_context(checked_out(asked.head, folder / "head_code"))
        print(f"base {asked.base}, head {asked.head}; Python {sys.version.split()[0]}, torch {torch.__version__}")
        different = [name for name in names if not run_case(name, base, head, folder / name)]
        resumed = resume_old(base, head, folder / "resume_old") if asked.resume_old else "not tried"
    print(f"\nold run: {resumed}" if asked.resume_old else "")
    print(f"DIFFERENT: {', '.join(different)}" if different else f"all {len(names)} cases equal")
    return 1 if different or "FAILED" in resumed else 0


if __name__ == "__main__":
    raise SystemExit(main())
