"""Validation while training: it disturbs nothing, survives any stop, and reports J&F before and after."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.e2e.conftest import ARCHITECTURE, Run

pytestmark = pytest.mark.slow


@pytest.fixture
def validated_run(new_run: Callable[..., Run], real_data: Path) -> Callable[..., Run]:
    """A run on clips of five frames that validates every three steps; ten videos to train on, one held out."""
    short = real_data / "vos_short"
    data = [f"dataset.img_folder={short / 'JPEGImages'}", f"dataset.gt_folder={short / 'Annotations'}"]
    validation = ["dataset.val_fraction=0.2", "trainer.val_check_interval=3", "trainer.max_steps=5"]
    # No saves but the one before each validation: it is what a killed run goes on from.
    validation.append("checkpoint.every_n_steps=null")

    def make(name: str, *overrides: str) -> Run:
        return new_run(name, *data, *validation, *overrides)

    return make


def history(run: Run) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = torch.load(run.checkpoint, weights_only=True)["validation"]["history"]
    return rows


def test_with_and_without_validation_the_weights_are_the_same(validated_run: Callable[..., Run]) -> None:
    with_it = validated_run("with", "visualization.train_every_n_steps=2")
    without = validated_run("without", "trainer.limit_val_batches=0")
    ended = with_it.go()
    assert ended.code == 0, ended.output
    assert without.go().code == 0
    assert with_it.weights_hash() == without.weights_hash()
    assert with_it.loss_curve() == without.loss_curve()
    rows = history(with_it)
    assert [row["step"] for row in rows] == [0, 3, 5]
    assert all(0 <= row["val_j_and_f"] <= 1 and row["val_loss"] > 0 for row in rows)
    best = max(rows, key=lambda row: row["val_j_and_f"])
    kept = torch.load(with_it.folder / "checkpoints" / "best_val_j_and_f.pt", weights_only=True)
    assert (kept["step"], kept["value"]) == (best["step"], best["val_j_and_f"])
    assert "held out for validation" in ended.output
    assert "mean of all objects" in ended.output
    assert "Validation is switched off" in (without.folder / "report.html").read_text()
    report = (with_it.folder / "report.html").read_text()
    assert "finished" in report
    assert "data:image/" in report
    masks = with_it.folder / "evaluation" / "validation" / "masks"
    assert {path.name for path in masks.iterdir()} >= {"initial", "best" if best["step"] else "newest"}
    board = EventAccumulator(str(with_it.folder / "tensorboard")).Reload()
    assert set(board.Tags()["images"]) >= {"training", "validation/highest"}
    assert "validation/j_and_f" in board.Tags()["scalars"]
    assert [path.name for path in (with_it.folder / "visualization").iterdir()] == ["step_00000000.gif"]


def test_r11_a_changed_validation_is_accepted_and_starts_anew_and_another_architecture_is_refused(
    validated_run: Callable[..., Run], tmp_path: Path
) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(ARCHITECTURE.read_text())
    run = validated_run("run", f"model.name={own}", "trainer.max_steps=4", "early_stopping.monitor=val_j_and_f")
    process = run.start()
    kill_in_validation(run, process, 3)
    own.write_text(ARCHITECTURE.read_text().replace("dropout: 0.1", "dropout: 0.5"))
    ended = run.go()
    assert ended.code == 2, ended.output
    assert "the architecture is not the one that the checkpoint was made with" in ended.output
    copy = own.rename(tmp_path / "moved.yaml")
    copy.write_text(f"# moved\n{ARCHITECTURE.read_text()}")
    ended = run.go(f"model.name={copy}", "evaluation.prompt=click:1")
    assert ended.code == 0, ended.output
    assert "changed: what validations measure" in ended.output
    assert "changed: evaluation.prompt: 'mask' -> 'click:1'" in ended.output
    assert [row["step"] for row in history(run)] == [3, 4], "step 0 was measured with masks as prompts"
    assert (run.folder / "evaluation" / "validation_until_step_3" / "step_00000000.json").is_file()


@pytest.mark.parametrize("how", [["scratch.num_train_workers=0"], ["--num-gpus", "2"]], ids=" ".join)
def test_r02_killed_during_a_validation_the_run_ends_with_the_same_bits(
    validated_run: Callable[..., Run], how: list[str]
) -> None:
    whole, killed = validated_run("whole", *how), validated_run("killed", *how)
    ended = whole.go()
    assert ended.code == 0, ended.output
    process = killed.start()
    kill_in_validation(killed, process, 3)
    ended = killed.go()
    assert ended.code == 0, ended.output
    assert "continues at step 3" in ended.output
    assert killed.weights_hash() == whole.weights_hash()
    assert history(killed) == history(whole)
    assert killed.state_hash() == whole.state_hash()


def kill_in_validation(run: Run, process: Any, step: int) -> None:
    """Kills a run between the save before a validation and the end of it."""
    run.wait_for_step(process, step)
    assert not (run.folder / "evaluation" / "validation" / f"step_{step:08d}.json").exists()
    run.kill(process)
    time.sleep(0.5)


def test_r12_a_stop_during_a_validation_ends_it_within_seconds_and_it_is_done_again(
    validated_run: Callable[..., Run],
    check_delay: Callable[[str, float, float], None],
) -> None:
    run = validated_run("stopped")
    process = run.start()
    run.wait_for_step(process, 3)
    os.killpg(process.pid, signal.SIGTERM)
    ended = run.finish(process)
    check_delay("stop on request", ended.seconds, 30)
    assert ended.code == 75, ended.output
    ended = run.go()
    assert ended.code == 0, ended.output
    assert "validation after step 3" in ended.output
    assert [row["step"] for row in history(run)] == [0, 3, 5]


def test_early_stopping_ends_the_run_and_a_restart_knows(validated_run: Callable[..., Run]) -> None:
    watch = ["early_stopping.monitor=val_loss", "early_stopping.patience=1", "early_stopping.min_delta=1e9"]
    run = validated_run("early", *watch, "trainer.max_steps=8")
    ended = run.go()
    assert ended.code == 0, ended.output
    assert ended.output.count("Finished after step 6: val_loss has not improved in 1 validation") == 1
    assert [row["step"] for row in history(run)] == [0, 3, 6]
    again = run.go()
    assert again.code == 0
    assert "Finished after step 6: val_loss has not improved" in again.output
    patient = run.go("early_stopping.patience=5")
    assert patient.code == 0, patient.output
    assert [row["step"] for row in history(run)] == [0, 3, 6, 8]


def test_validate_only_and_a_retention_set(validated_run: Callable[..., Run], real_data: Path) -> None:
    retention = real_data / "vos_short"
    listed = validated_run("x").folder.parent / "retention.txt"
    listed.write_text("\n".join(sorted(path.name for path in (retention / "JPEGImages").iterdir())[:2]))
    run = validated_run(
        "only",
        "trainer.limit_train_batches=0",
        f"evaluation.retention_dataset={{img_folder: {retention}/JPEGImages, gt_folder: {retention}/Annotations, "
        f"file_list_txt: {listed}}}",
    )
    ended = run.go()
    assert ended.code == 0, ended.output
    assert not (run.folder / "checkpoints" / "checkpoint.pt").exists()
    values = json.loads((run.folder / "evaluation" / "retention" / "step_00000000.json").read_text())
    assert len(values["result"]["clips"]) == 2
    assert "retention_j_and_f" in ended.output


def test_two_processes_measure_what_one_does(validated_run: Callable[..., Run]) -> None:
    only = ["trainer.limit_train_batches=0", "dataset.val_fraction=0.5"]
    alone, together = validated_run("alone", *only), validated_run("together", *only, "--num-gpus", "2")
    assert alone.go().code == 0
    assert together.go().code == 0
    name = Path("evaluation") / "validation" / "step_00000000.json"
    first, second = (json.loads((run.folder / name).read_text()) for run in (alone, together))
    assert first["values"] == second["values"]
    objects = [[clip["objects"] for clip in found["result"]["clips"]] for found in (first, second)]
    assert objects[0] == objects[1]
