"""A network measured on a set of videos: repeatable, without a trace, and whatever the disk does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sam2_training.core.ranks import Ranks
from sam2_training.data.config import SyntheticConfig
from sam2_training.engine.precision import Precision
from sam2_training.tasks import load_config
from sam2_training.vos.config import VosConfig
from sam2_training.vos.evaluation import measured_set
from sam2_training.vos.evaluation.measured_set import LossBatches, MeasuredSet, kept_results, loss_batches
from sam2_training.vos.evaluation.result import EvaluationResult
from sam2_training.vos.model.build import build_network
from sam2_training.vos.model.tracker import TrainableSAM2

from tests.vos.opened import build_dataset, open_clips

FP32 = Precision("32", torch.device("cpu"))


@pytest.fixture(scope="module")
def config() -> VosConfig:
    loaded = load_config("sam2.1_training/demo", ["scratch.num_frames=3"]).config
    return replace(loaded, dataset=replace(loaded.dataset, synthetic=SyntheticConfig(2, 4, 64, 2)))


@pytest.fixture(scope="module")
def model(config: VosConfig) -> TrainableSAM2:
    torch.manual_seed(0)
    return build_network(config.model, config.prompts, config.transforms)


def opened(config: VosConfig, folder: Path) -> MeasuredSet:
    clips = open_clips(config.dataset, 5, None)
    return MeasuredSet(config, Ranks(), clips, loss_batches(build_dataset(config, None), len(clips)), folder)


def test_it_measures_the_same_twice_and_leaves_no_trace(config: VosConfig, tmp_path: Path) -> None:
    clicks = load_config("sam2.1_training/demo", ["prompts=clicks"]).config.prompts
    # Where clicks lie is drawn from torch's generator.
    model = build_network(config.model, clicks, config.transforms)
    model.train()
    modes = [module.training for module in model.modules()]
    torch.manual_seed(3)
    before = torch.get_rng_state()
    alive = []
    first = opened(config, tmp_path / "a").measure(model, 4, FP32, lambda: alive.append(1))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    second = opened(config, tmp_path / "b").measure(model, 4, FP32, lambda: None)
    assert first == second
    assert list(first)[:4] == ["j_and_f", "loss", "j", "f"]
    assert first["loss"] > 0
    assert len(alive) >= 2 * 4  # at least once a frame
    assert [module.training for module in model.modules()] == modes


def test_the_loss_is_the_mean_over_the_objects_of_all_clips(
    config: VosConfig, model: TrainableSAM2, tmp_path: Path
) -> None:
    clips = open_clips(config.dataset, 5, None)
    batches = loss_batches(build_dataset(config, None), 2)

    def loss_of(name: str, chosen: LossBatches) -> float:
        videos = MeasuredSet(config, Ranks(), clips, chosen, tmp_path / name)
        return videos.measure(model, 1, FP32, lambda: None)["loss"]

    both, first, second = loss_of("both", batches), loss_of("first", batches[:1]), loss_of("second", batches[1:])
    assert first != second
    assert both == pytest.approx((first + second) / 2, rel=1e-6)  # two objects in each


def test_details_are_kept_and_read_back(config: VosConfig, model: TrainableSAM2, tmp_path: Path) -> None:
    videos = opened(config, tmp_path)
    values = videos.measure(model, 4, FP32, lambda: None)
    kept = json.loads((tmp_path / "step_00000004.json").read_text())
    assert kept["values"] == values
    result = videos.result_of(4)
    assert isinstance(result, EvaluationResult)
    assert result.numbers()["j_and_f"] == values["j_and_f"]
    assert videos.result_of(5) is None
    newest = videos.masks_folder("newest")
    assert len(list(newest.rglob("*.png"))) == 2 * 4
    videos.keep_as_best()
    assert not newest.exists()
    assert len(list(videos.masks_folder("best").rglob("*.png"))) == 2 * 4


def test_a_full_disk_is_said_once_and_the_numbers_are_there(
    config: VosConfig, model: TrainableSAM2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[object, ...]] = []

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(measured_set, "write_masks_png", full)
    monkeypatch.setattr(measured_set._logger, "warning", lambda *words: said.append(words))
    values = opened(config, tmp_path).measure(model, 4, FP32, lambda: None)
    assert "j_and_f" in values
    assert len(said) == 1
    assert "No space left on device" in str(said[0][-1])


def test_a_damaged_result_is_set_aside_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number, junk in enumerate([b"", b"\0\xff", b"[]", b'{"result": {"videos": 3}}']):
        path = tmp_path / f"step_{number:08d}.json"
        path.write_bytes(junk)
        assert kept_results(tmp_path) == {}
        assert f"{path} is damaged" in caplog.text
        assert path.with_name(f"{path.name}.corrupt").read_bytes() == junk
