"""The demo judges by the validations of its own run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sam2_training.cli import main
from sam2_training.commands import launch
from sam2_training.vos.evaluation.result import ClipResult, EvaluationResult
from sam2_training.vos.metrics.scores import FrameScore, score_from_frames


def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scores: dict[int, float], code: int = 0) -> int:
    """The demo's exit code, where a run ends with `code` and leaves these J&F by step."""
    folder = tmp_path / "evaluation" / "validation"

    def train(loaded: object) -> int:
        folder.mkdir(parents=True)
        for step, score in scores.items():
            objects = (score_from_frames(1, {1: FrameScore(score, score, score, True, True)}),)
            result = EvaluationResult("mask", "davis", (ClipResult("a", 3, objects),))
            (folder / f"step_{step:08d}.json").write_text(json.dumps({"step": step, "result": result.to_json()}))
        return code

    monkeypatch.setattr(launch, "train_in_this_process", train)
    return main(["demo", f"launcher.experiment_log_dir={tmp_path}"])


@pytest.mark.parametrize(("last", "code"), [(0.5, 0), (0.32, 1)])
def test_the_gain_between_first_and_last_validation_decides(
    last: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo(tmp_path, monkeypatch, {0: 0.1, 200: 0.9, 600: last}) == code
    out = capsys.readouterr().out
    assert f"difference   {last - 0.1:+.3f}" in out
    assert str(tmp_path / "report.html") in out
    assert ("did not learn" in out) is bool(code)


def test_a_run_that_fails_is_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo(tmp_path, monkeypatch, {0: 0.1, 600: 0.9}, code=75) == 75
    assert "difference" not in capsys.readouterr().out


def test_without_validations_there_is_nothing_to_judge_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo(tmp_path, monkeypatch, {600: 0.9}) == 2
    assert "found validations of the steps [600]" in capsys.readouterr().err
