"""What the launcher asks before it starts a container."""

from __future__ import annotations

from pathlib import Path

import pytest
from sam2_training.cli import main
from sam2_training.commands import needs
from sam2_training.tasks import load_config

FOLDERS = ("dataset.img_folder=images", "dataset.gt_folder=masks")


def answer(capsys: pytest.CaptureFixture[str], *overrides: str) -> dict[str, str]:
    assert main(["needs", "-c", "sam2.1_training/custom_finetune", *FOLDERS, *overrides]) == 0
    return dict(line.split("=", 1) for line in capsys.readouterr().out.splitlines())


def test_a_published_network_needs_its_file_and_room_for_its_checkpoints(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys)
    assert found["weights"] == "sam2.1_hiera_base_plus.pt"
    # 3 x 323.6 MB (weights, two moments), two checkpoints kept and one being written
    assert int(found["disk_mib"]) == -(-323606802 * 3 * 3 // 2**20)
    assert answer(capsys, "model.checkpoint=null")["weights"] == ""
    assert answer(capsys, "model.checkpoint=null", "model.name=t")["disk_mib"] < found["disk_mib"]


def test_shared_memory_grows_with_clips_workers_and_processes() -> None:
    def mib(*overrides: str) -> int:
        return needs.shared_memory_mib(load_config("sam2.1_training/custom_finetune", [*FOLDERS, *overrides]).config)

    alone = mib("scratch.num_train_workers=0")
    assert alone == needs.RESERVE_MIB
    # one clip of 8 frames at 1024 px with one plane of masks is 32 MiB; 4 workers prepare 2 each, and one is in use
    more = ("scratch.num_train_workers=4", "scratch.num_frames=8")
    assert mib(*more) == alone + 9 * 32
    assert mib(*more, "launcher.gpus_per_node=3") == 3 * (alone + 9 * 32)
    assert mib(*more, "scratch.max_num_objects=9") == alone + 9 * 40


def test_a_wrong_recipe_is_said_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["needs", "-c", "sam2.1_training/custom_finetune", *FOLDERS, "scratch.resolution=33"]) == 2
    assert "nearest: 32 or 64" in capsys.readouterr().err


def test_a_run_that_continues_needs_no_weights_to_start_from(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert answer(capsys, "checkpoint.resume_from=some/checkpoint.pt")["weights"] == ""
    folder = f"launcher.experiment_log_dir={tmp_path}"
    assert answer(capsys, folder)["weights"] == "sam2.1_hiera_base_plus.pt"
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step_00000003.pt").touch()
    assert answer(capsys, folder)["weights"] == ""
