"""Bad input ends within seconds with one clear message, the right exit code, and nothing written over."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.e2e.conftest import Run

pytestmark = pytest.mark.slow


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, ("1 + 1",))


CONFIG_CASES = {
    "unknown key": (["scratch.resoluton=256"], ["unknown key scratch.resoluton", "scratch.resolution"]),
    "wrong type": (["scratch.num_frames=four"], ["scratch.num_frames='four'", "whole number"]),
    "resolution": (["scratch.resolution=100"], ["scratch.resolution=100", "96 or 128"]),
    "gpus": (["--num-gpus", "4", "trainer.accelerator=cuda"], ["--num-gpus 4", "usable GPU"]),
    "cluster": (["--use-cluster", "1"], ["submitit.use_cluster"]),
    "ranks": (["--num-gpus", "2", "dataset.file_list_txt={one_video}"], ["1 sample", "2"]),
}


@pytest.mark.parametrize("case", CONFIG_CASES)
def test_r18_config_errors_exit_2(new_run: Callable[..., Run], tmp_path: Path, case: str) -> None:
    (tmp_path / "one.txt").write_text("libby\n")
    overrides, words = CONFIG_CASES[case]
    run = new_run("bad", *(part.format(one_video=tmp_path / "one.txt") for part in overrides))
    ended = run.go()
    assert ended.code == 2, ended.output
    for word in words:
        assert word in ended.output
    assert "Traceback" not in ended.output
    assert not (run.folder / "checkpoints").exists() or not list((run.folder / "checkpoints").iterdir())


def test_missing_folder_and_no_mask_exit_6(new_run: Callable[..., Run], tmp_path: Path, real_data: Path) -> None:
    ended = new_run("missing", f"dataset.img_folder={tmp_path / 'nowhere'}").go()
    assert ended.code == 6, ended.output
    assert str(tmp_path / "nowhere") in ended.output
    (tmp_path / "no_masks").mkdir()
    ended = new_run("no_masks_run", f"dataset.gt_folder={tmp_path / 'no_masks'}").go()
    assert ended.code == 6, ended.output
    assert "Traceback" not in ended.output


def test_bad_checkpoints_exit_4(new_run: Callable[..., Run], tmp_path: Path) -> None:
    text = tmp_path / "text.pt"
    text.write_text("this is no checkpoint")
    unsafe = tmp_path / "unsafe.pt"
    torch.save({"model": Malicious()}, unsafe)
    other = tmp_path / "other.pt"
    torch.save({"model": {"weight": torch.zeros(3)}}, other)
    for path, word in (
        (text, "text.pt"),
        (unsafe, "would call eval"),
        (other, "other.pt"),
        (tmp_path / "none.pt", "none.pt"),
    ):
        ended = new_run(f"run_{path.stem}", f"model.checkpoint={path}").go()
        assert ended.code == 4, ended.output
        assert word in ended.output
        assert "Traceback" not in ended.output


def test_r15_a_non_finite_loss_exits_3_and_names_the_clips(new_run: Callable[..., Run]) -> None:
    run = new_run("nan", "scratch.base_lr=1e30", "scratch.vision_lr=1e30", "trainer.gradient_clip_val=null")
    ended = run.go()
    assert ended.code == 3, ended.output
    assert "not finite" in ended.output
    assert list(run.folder.glob("nonfinite_step_*.json"))
    report = (run.folder / "report.html").read_text()
    assert '<span class="state failed">failed</span> loss or gradient is not finite at step' in report


def test_r11_another_configuration_is_refused_and_nothing_is_written_over(new_run: Callable[..., Run]) -> None:
    run = new_run("first", "scratch.num_epochs=1")
    assert run.go().code == 0
    before = run.state_hash()
    ended = run.go("loss.loss_dice=3")
    assert ended.code == 2, ended.output
    assert "loss.loss_dice: 1.0 -> 3.0" in ended.output
    assert run.state_hash() == before


def test_r07_all_checkpoints_damaged_exits_4(new_run: Callable[..., Run]) -> None:
    run = new_run("damaged", "scratch.num_epochs=1")
    assert run.go().code == 0
    for path in run.folder.glob("checkpoints/step_*.pt"):
        path.write_bytes(path.read_bytes()[:1000])
    ended = run.go()
    assert ended.code == 4, ended.output
    assert "corrupt" in ended.output


def test_r16_a_wrong_mask_size_exits_6_with_both_paths(
    new_run: Callable[..., Run], tmp_path: Path, real_data: Path
) -> None:
    frames, masks = tmp_path / "frames" / "clip", tmp_path / "masks" / "clip"
    shutil.copytree(real_data / "vos" / "JPEGImages" / "libby", frames)
    shutil.copytree(real_data / "vos" / "Annotations" / "dogs-jump", masks)
    run = new_run("sizes", f"dataset.img_folder={frames.parent}", f"dataset.gt_folder={masks.parent}")
    ended = run.go()
    assert ended.code == 6, ended.output
    assert "432" in ended.output
    assert "854" in ended.output
    assert "Traceback" not in ended.output


def test_r16_a_damaged_frame_is_named_and_left_out_only_when_asked(
    new_run: Callable[..., Run], tmp_path: Path, real_data: Path
) -> None:
    frames = tmp_path / "frames"
    shutil.copytree(real_data / "vos_short" / "JPEGImages", frames)
    damaged = sorted(frames.iterdir())[0]
    for path in damaged.iterdir():
        path.write_bytes(path.read_bytes()[:2000])
    folders = [f"dataset.img_folder={frames}", f"dataset.gt_folder={real_data / 'vos_short' / 'Annotations'}"]
    ended = new_run("strict", *folders).go()
    assert ended.code == 6, ended.output
    assert "DataError: " in ended.output
    assert str(damaged) in ended.output
    lenient = new_run("lenient", *folders, "dataset.on_bad_sample=skip", "dataset.max_bad_fraction=0.1")
    ended = lenient.go()
    assert ended.code == 0, ended.output
    assert ended.output.count("left out of step") == 2  # once in each of two epochs
    assert ended.output.count(str(damaged)) == 2
    ended = new_run("bounded", *folders, "dataset.on_bad_sample=skip").go()
    assert ended.code == 6, ended.output
    assert "max_bad_fraction=0.01" in ended.output
