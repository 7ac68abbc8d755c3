"""When a run's report comes with a GIF."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sam2_training.engine.task import RunSummary
from sam2_training.vos.config import VisualizationConfig, VosConfig
from sam2_training.vos.reporting import writer
from sam2_training.vos.reporting.writer import ReportWriter

STEPS_PER_EPOCH = 3


class Measured:
    """Stands for a set of videos without scores."""

    def result_of(self, step: int) -> None:
        return None


def steps_with_a_gif(
    folder: Path, patch: pytest.MonkeyPatch, validated: list[int], status: Any = "running", **settings: Any
) -> list[int]:
    """Writes a report after each validation; the steps at which a GIF was written."""
    made: list[int] = []
    patch.setattr(writer, "describe_datasets", lambda *_: [])
    patch.setattr(writer, "label_reports", lambda *_: {})
    patch.setattr(writer, "film_strips", lambda *_: [])
    patch.setattr(writer, "write_gif", lambda _config, _videos, summary, _folder: made.append(summary.step))
    config = replace(VosConfig(), visualization=VisualizationConfig(**settings))
    index: Any = None  # only the summary of the datasets reads it
    sets: Any = {"validation": Measured()}
    report = ReportWriter(config, "demo", folder, {"training set": index}, sets)
    for count, step in enumerate(validated, 1):
        history = [{"step": float(one)} for one in validated[:count]]
        report.write(RunSummary(status, "", step, 30, STEPS_PER_EPOCH, history, [], None, {}))
    assert (folder / "report.html").is_file()
    return made


@pytest.mark.parametrize(
    ("settings", "validated", "expected"),
    [
        ({}, [0, 3, 6, 9], [0, 3, 6, 9]),
        ({"val_first_batch_every_n_epochs": 2}, [0, 3, 6, 9, 12], [0, 6, 12]),
        ({"val_first_batch_every_n_epochs": 2}, [0, 4, 8, 10, 20], [0, 8, 20]),
        ({"val_first_batch_every_n_epochs": 3}, [3, 6, 9, 12], [3, 9]),
        ({"val_first_batch_every_n_epochs": 0}, [0, 3, 6], []),
        ({"enabled": False}, [0, 3, 6], []),
    ],
    ids=str,
)
def test_a_gif_comes_with_the_first_validation_after_every_so_many_epochs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    validated: list[int],
    expected: list[int],
) -> None:
    assert steps_with_a_gif(tmp_path, monkeypatch, validated, **settings) == expected


def test_the_report_of_a_finished_run_adds_no_gif(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert steps_with_a_gif(tmp_path, monkeypatch, [3, 6], "finished") == []
