"""predict.py: masks, overlay and contact sheet of prompted objects, from a folder or an mp4."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from sam2_training.cli import main
from sam2_training.core.outputs import MANIFEST
from sam2_training.data.images import read_mask
from sam2_training.pictures.video import write_mp4
from sam2_training.vos.prediction import predict

from tests.tiny_checkpoint import CPU, SETTINGS, run_script, save_tiny

VIDEO = "3e91f10205_2"
BOX = ("--box", "1:10,8,40,36")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("weights") / "checkpoint.pt")


def made_frames(count: int) -> list[np.ndarray]:
    """A square that moves over stripes, 64x48 pixels."""
    frames = []
    for t in range(count):
        frame = np.full((48, 64, 3), 90, np.uint8)
        frame[::8] = 140
        frame[10:30, 10 + t % 20 : 30 + t % 20] = (200, 60, 30)
        frames.append(frame)
    return frames


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve frames whose names sort naturally only."""
    (tmp_path / "clip").mkdir()
    for t, frame in enumerate(made_frames(12)):
        Image.fromarray(frame).save(tmp_path / "clip" / f"frame{t}.png")
    return tmp_path / "clip"


@pytest.fixture
def mp4(tmp_path: Path) -> Path:
    write_mp4(tmp_path / "clip.mp4", made_frames(12), 10.0)
    return tmp_path / "clip.mp4"


def call(checkpoint: Path, source: Path, output: Path, *more: str) -> int:
    return main(
        ["predict", *SETTINGS, CPU, "--checkpoint", str(checkpoint), str(source), "--output", str(output), *more]
    )


def test_frames_in_which_nothing_is_found_are_counted(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(save_tiny(tmp_path / "absent.pt"), weights_only=True)
    content["model"]["sam_mask_decoder.pred_obj_score_head.layers.2.bias"].fill_(-50.0)
    torch.save(content, tmp_path / "absent.pt")
    assert call(tmp_path / "absent.pt", folder, tmp_path / "out", *BOX) == 0
    assert "In 12 of 12 frames no object was found; their masks are empty." in capsys.readouterr().out
    reader = cv2.VideoCapture(str(tmp_path / "out" / "overlay.mp4"))
    shown, frame = reader.read()
    assert shown
    assert frame[:4, :20].max() < 60, "a note on black says so"


def video_facts(path: Path) -> tuple[int, float, tuple[int, int]]:
    """(frames, frames a second, (width, height))"""
    video = cv2.VideoCapture(str(path))
    count = 0
    while video.grab():
        count += 1
    size = (int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    return count, video.get(cv2.CAP_PROP_FPS), size


@pytest.mark.slow
def test_a_real_folder_with_a_mask_in_a_process_of_its_own(real_data: Path, checkpoint: Path, tmp_path: Path) -> None:
    frames = real_data / "vos_short" / "JPEGImages" / VIDEO
    mask = real_data / "vos_short" / "Annotations" / VIDEO / "00000.png"
    arguments = [*SETTINGS, "--checkpoint", str(checkpoint), str(frames), "--output", "out", "--mask", str(mask), CPU]
    ended = run_script("predict.py", *arguments, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "1 object(s) through 5 frames of 424x240" in ended.stdout
    files = sorted((tmp_path / "out" / "masks").iterdir())
    assert [file.stem for file in files] == [path.stem for path in sorted(frames.iterdir())]
    with Image.open(files[0]) as image:
        assert image.mode == "P"
    first, truth = read_mask(str(files[0])) == 1, read_mask(str(mask)) == 1
    assert (first & truth).sum() / (first | truth).sum() > 0.4  # the given mask, as 64 pixels can show it
    assert video_facts(tmp_path / "out" / "overlay.mp4") == (5, 24.0, (424, 240))
    with Image.open(tmp_path / "out" / "contact_sheet.png") as sheet:
        assert sheet.width > 5 * 200


def test_an_mp4_and_the_folder_of_its_frames_give_the_same_masks(mp4: Path, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "decoded").mkdir()
    video = cv2.VideoCapture(str(mp4))
    for t in range(12):
        cv2.imwrite(str(tmp_path / "decoded" / f"{t}.png"), video.read()[1])
    prompt = [*BOX, "--point", "1:20,20,+", "--point", "1:2,2,-", "--point", "4:50,40,+"]
    assert call(checkpoint, tmp_path / "decoded", tmp_path / "a", *prompt, "--fps", "5") == 0
    assert call(checkpoint, mp4, tmp_path / "b", *prompt) == 0
    assert video_facts(tmp_path / "a" / "overlay.mp4") == (12, 5.0, (64, 48))
    assert video_facts(tmp_path / "b" / "overlay.mp4") == (12, 10.0, (64, 48))
    seen: set[int] = set()
    for t in range(12):
        mask = tmp_path / "a" / "masks" / f"{t}.png"
        assert mask.read_bytes() == (tmp_path / "b" / "masks" / f"{t:05d}.png").read_bytes()
        seen.update(np.unique(read_mask(str(mask))).tolist())
    assert seen in ({0, 1, 4}, {0, 1}, {0, 4})  # untrained: it may see one of the two only


def test_settings_may_stand_before_the_input_and_the_overlay_may_be_left_out(
    folder: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["seed=4", str(folder), *SETTINGS, CPU, "--checkpoint", str(checkpoint), *BOX]
    assert main(["predict", *arguments, "--output", str(tmp_path / "out"), "--no-overlay"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [MANIFEST, "contact_sheet.png", "masks"]
    assert main(["predict", *arguments, str(folder), "--output", str(tmp_path / "out")]) == 2
    assert "expected one INPUT" in capsys.readouterr().err


def test_boxes_of_coco_and_yolo_are_the_same_prompt(folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    coco = {
        "images": [
            {"id": 3, "file_name": "x/frame0.png", "width": 64, "height": 48},
            {"id": 4, "file_name": "frame1.png"},
        ],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 1, "bbox": [10, 8, 30, 28]},
            {"id": 2, "image_id": 4, "category_id": 1, "bbox": [0, 0, 5, 5]},
        ],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(coco))
    (tmp_path / "boxes.txt").write_text(f"0 {25 / 64} {22 / 48} {30 / 64} {28 / 48}\n")
    found = []
    for number, prompt in enumerate(
        [BOX, ("--boxes", str(tmp_path / "boxes.json")), ("--boxes", str(tmp_path / "boxes.txt"))]
    ):
        assert call(checkpoint, folder, tmp_path / str(number), *prompt, "--no-overlay") == 0
        found.append([path.read_bytes() for path in sorted((tmp_path / str(number) / "masks").iterdir())])
    assert len(found[0]) == 12
    assert found[0] == found[1] == found[2]


def test_few_frames_wait_in_memory_whatever_the_length(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mp4(tmp_path / "long.mp4", made_frames(80), 10.0)
    waiting = []
    original = predict.KeptFrames.take

    def take(self: predict.KeptFrames, frame_index: int) -> np.ndarray:
        waiting.append(len(self._waiting))
        return original(self, frame_index)

    monkeypatch.setattr(predict.KeptFrames, "take", take)
    assert call(checkpoint, tmp_path / "long.mp4", tmp_path / "out", *BOX) == 0
    assert len(waiting) == 80
    assert max(waiting) <= 5


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        ((), 2, "no prompt"),
        ((*BOX, "--mask", "m.png"), 2, "several kinds of prompts"),
        (("--box", "1:10,8,40,49"), 2, "lies outside the frame: the frames are 64x48"),
        (("--point", "1:64,3,+"), 2, "lies outside the frame"),
        ((*BOX, "--fps", "0"), 2, "--fps 0"),
        ((*BOX, "--checkpoint", "none.pt"), 4, "none.pt does not exist"),
        (("--mask", "none.png"), 6, "none.png"),
        (("--boxes", "boxes.xml"), 2, "unknown format"),
    ],
)
def test_prompts_that_cannot_be_are_said(
    more: tuple[str, ...],
    code: int,
    message: str,
    folder: Path,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(checkpoint, folder, tmp_path / "out", *more) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "masks").exists()


def test_masks_that_do_not_fit_are_named(
    folder: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {
        "size.png": (np.ones((40, 64), np.uint8), "is 40x64, the frames are 48x64"),
        "empty.png": (np.zeros((48, 64), np.uint8), "is empty"),
        "color.png": (np.ones((48, 64, 3), np.uint8) * np.uint8([1, 2, 3]), "expected palette or gray"),
    }
    for name, (pixels, message) in wrong.items():
        Image.fromarray(pixels).save(tmp_path / name)
        assert call(checkpoint, folder, tmp_path / "out", "--mask", str(tmp_path / name)) == 6
        error = capsys.readouterr().err
        assert message in error
        assert str(tmp_path / name) in error


def test_inputs_that_are_no_video_are_named(
    mp4: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "cut.mp4").write_bytes(mp4.read_bytes()[:-600])
    inputs = {
        tmp_path / "none": "does not exist",
        tmp_path / "empty": "no frame",
        tmp_path / "text.mp4": "neither a folder of frames nor a video",
        tmp_path / "cut.mp4": "neither a folder of frames nor a video",
    }
    for source, message in inputs.items():
        assert call(checkpoint, source, tmp_path / "out", *BOX) == 6
        error = capsys.readouterr().err
        assert "DataError: " in error
        assert message in error
        assert str(source) in error


def test_frames_of_two_sizes_are_named_before_any_work(
    folder: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.zeros((40, 64, 3), np.uint8)).save(folder / "frame7.png")
    assert call(checkpoint, folder, tmp_path / "out", *BOX) == 6
    error = capsys.readouterr().err
    assert "1 frame of video clip with another size than its first" in error
    assert f"40x64 {folder / 'frame7.png'}" in error
    assert not (tmp_path / "out").exists()  # said before any work
