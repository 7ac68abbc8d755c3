"""The sets of videos that a run measures, and what an earlier version of this project left of them."""

from __future__ import annotations

from pathlib import Path

from sam2_training.core.ranks import Ranks
from sam2_training.engine.precision import Precision
from sam2_training.tasks import load_config
from sam2_training.vos.config import VosConfig
from sam2_training.vos.model.build import build_for_inference
from sam2_training.vos.validation import open_validation

GENERATED = "{dataset_type: synthetic, synthetic: {num_videos: 1, num_frames: 3, size: 64, num_objects: 1}}"


def config() -> VosConfig:
    sets = [f"val_dataset={GENERATED}", f"evaluation.guard_dataset={GENERATED}", "evaluation.save_masks=false"]
    loaded = load_config("sam2.1_training/demo", ["scratch.num_frames=2", *sets]).config
    assert isinstance(loaded, VosConfig)
    return loaded


def test_both_sets_are_measured_under_their_own_names(tmp_path: Path) -> None:
    validation = open_validation(config(), Ranks(), tmp_path, None)
    assert validation is not None
    precision = Precision("32", Ranks().device)
    values = validation.measure(build_for_inference(config()), 0, precision, lambda: None)
    assert all(name.startswith(("val_", "retention_")) for name in values)
    for prefix in ("val_", "retention_"):
        assert {f"{prefix}{name}" for name in ("j_and_f", "loss", "loss_mask")} <= set(values)
    for name in ("validation", "retention"):
        assert (tmp_path / "evaluation" / name / "step_00000000.json").is_file()


def test_a_run_that_an_earlier_version_started_keeps_its_scores(tmp_path: Path) -> None:
    """It called the retention set "guard"."""
    first = open_validation(config(), Ranks(), tmp_path, None)
    assert first is not None
    first.measure(build_for_inference(config()), 0, Precision("32", Ranks().device), lambda: None)
    (tmp_path / "evaluation" / "retention").rename(tmp_path / "evaluation" / "guard")
    continued = open_validation(config(), Ranks(), tmp_path, None)
    assert continued is not None
    assert continued.sets["retention"].result_of(0) is not None
    assert not (tmp_path / "evaluation" / "guard").exists()


def test_a_sanity_check_reads_only_as_many_videos_as_asked_for(tmp_path: Path) -> None:
    three = "val_dataset.synthetic.num_videos=3"
    settings = [f"val_dataset={GENERATED}", three, "scratch.num_frames=2", "evaluation.save_masks=false"]
    made = load_config("sam2.1_training/demo", settings).config
    assert isinstance(made, VosConfig)
    validation = open_validation(made, Ranks(), tmp_path, None)
    assert validation is not None
    network, beats = build_for_inference(made), []
    for count in (1, 2):
        said = validation.sanity_check(
            network, count, Precision("32", Ranks().device), lambda count=count: beats.append(count)
        )
    assert 0 < beats.count(1) == beats.count(2) / 2
    assert said.startswith("2 of 3 validation videos tracked and scored (synthetic-0, synthetic-1), J&F 0.")
    assert validation.num_units(2) == 6
    assert not list(tmp_path.rglob("*.json")), "nothing is kept"
