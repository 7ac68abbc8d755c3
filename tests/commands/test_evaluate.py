"""evaluate.py: the table, the files beside it, and one clear message for everything that cannot be evaluated."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sam2_training.cli import main
from sam2_training.data.images import read_mask
from sam2_training.pictures.palette import davis_palette
from sam2_training.vos.evaluation.result import EvaluationResult
from sam2_training.vos.model import weights as weights_module

from tests.tiny_checkpoint import CPU, SETTINGS, run_script, save_tiny
from tests.vos.metrics.whole_clips import boundary_accuracy, region_similarity

REAL = ("3e91f10205_2", "6f96e91d81_3")
Masks = dict[str, dict[int, list[int | None]]]
"""{video: {object id: side of its square in each frame, 0: empty, None: no mask file}}"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("weights") / "best_val_j_and_f.pt")


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("weights") / "start.pt", seed=1)


@pytest.fixture
def real(real_data: Path, tmp_path: Path) -> list[str]:
    """The arguments that name two real videos."""
    folder = real_data / "vos_short"
    (tmp_path / "two.txt").write_text("# unseen\n\n" + "\n".join(REAL) + "\n")
    return [
        *(f"dataset.img_folder={folder / 'JPEGImages'}", f"dataset.gt_folder={folder / 'Annotations'}"),
        *("--split", str(tmp_path / "two.txt"), f"launcher.experiment_log_dir={tmp_path / 'run'}"),
    ]


@pytest.fixture
def made(tmp_path: Path) -> Callable[[Masks], list[str]]:
    """Writes videos of 64x48 pixels with a folder of masks for each object; the arguments that name them."""

    def write(videos: Masks) -> list[str]:
        rng = np.random.default_rng(3)
        for video, objects in videos.items():
            (tmp_path / "images" / video).mkdir(parents=True)
            for t in range(len(next(iter(objects.values())))):
                frame = Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8))
                frame.save(tmp_path / "images" / video / f"{t:05d}.jpg")
            for object_id, sides in objects.items():
                folder = tmp_path / "masks" / video / str(object_id)
                folder.mkdir(parents=True)
                for t, side in enumerate(sides):
                    if side is not None:
                        mask = np.zeros((48, 64), np.uint8)
                        mask[4 : 4 + side, 8 : 8 + side] = 1
                        Image.fromarray(mask).save(folder / f"{t:05d}.png")
        return [
            *(f"dataset.img_folder={tmp_path / 'images'}", f"dataset.gt_folder={tmp_path / 'masks'}"),
            f"launcher.experiment_log_dir={tmp_path / 'run'}",
        ]

    return write


def call(checkpoint: Path, *more: str) -> int:
    return main(["evaluate", *SETTINGS, CPU, "--checkpoint", str(checkpoint), *more])


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_two_real_videos_in_a_process_of_its_own(
    real: list[str], real_data: Path, checkpoint: Path, baseline: Path, tmp_path: Path
) -> None:
    arguments = [*SETTINGS, *real, "--checkpoint", str(checkpoint), "--baseline", str(baseline)]
    ended = run_script("evaluate.py", *arguments, "--require", "j_and_f>=0.75", CPU, cwd=tmp_path)
    assert ended.returncode == 1, ended.stderr
    assert "--require j_and_f>=0.75: does not hold; j_and_f is 0." in ended.stdout
    assert "Evaluating 2 videos of dataset" in ended.stdout
    assert "Traceback" not in ended.stderr
    folder = tmp_path / "run" / "evaluation" / "best_val_j_and_f"
    scores = json.loads((folder / "scores.json").read_text())
    assert (scores["split"], scores["protocol"], scores["prompt"]) == ("two", "davis", "mask")
    assert scores["checkpoint"]["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert scores["baseline"]["sha256"] == hashlib.sha256(baseline.read_bytes()).hexdigest()
    assert len(scores["provenance"]["config_sha256"]) == 64
    assert scores["requirements"] == [{"condition": "j_and_f>=0.75", "holds": False}]
    result = EvaluationResult.from_json(scores["result"])
    assert result.numbers()["j_and_f"] == scores["mean"]["j_and_f"]
    for row in rows_of(folder):
        line = next(line for line in ended.stdout.splitlines() if line.startswith(row["video"]))
        shown = [f"{float(row[name]):.3f}" for name in ("j", "f", "j_and_f")]
        assert line.split() == [row["video"], "1", *shown, f"{float(row['delta_j_and_f']):+.3f}"]
        difference = float(row["j"]) - float(row["baseline_j"])
        assert float(row["delta_j"]) == pytest.approx(difference)
        check_masks(folder, real_data, row)


@pytest.mark.slow
def test_two_processes_print_and_write_what_one_does(real: list[str], checkpoint: Path, tmp_path: Path) -> None:
    arguments = [*SETTINGS, *real, "--checkpoint", str(checkpoint), CPU, "--require", "j_and_f>=0.99"]
    alone = run_script("evaluate.py", *arguments, "--output", "alone", cwd=tmp_path)
    together = run_script("evaluate.py", *arguments, "--output", "together", "--num-gpus", "2", cwd=tmp_path)
    assert (alone.returncode, together.returncode) == (1, 1), together.stderr
    assert "2 processes on cpu" in together.stdout
    assert table_of(together.stdout) == table_of(alone.stdout)
    assert (tmp_path / "together" / "scores.csv").read_bytes() == (tmp_path / "alone" / "scores.csv").read_bytes()
    masks = {path.relative_to(tmp_path / "alone"): path for path in (tmp_path / "alone" / "masks").rglob("*.png")}
    assert masks
    assert all((tmp_path / "together" / name).read_bytes() == path.read_bytes() for name, path in masks.items())
    # What is wrong is said once, with its own exit code.
    failed = run_script("evaluate.py", *arguments, "model.name=sam2.1_hiera_t", "--num-gpus", "2", cwd=tmp_path)
    assert failed.returncode == 4, failed.stderr
    assert failed.stderr.count("another network") == 1


def table_of(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if line.startswith((*REAL, "mean", "--require"))]


def check_masks(folder: Path, real_data: Path, row: dict[str, str]) -> None:
    """The PNGs are in DAVIS's layout, and from them alone come the row's numbers (one object: no overlaps)."""
    truth_folder = real_data / "vos_short" / "Annotations" / row["video"]
    files = sorted((folder / "masks" / row["video"]).iterdir())
    assert [file.name for file in files] == sorted(path.name for path in truth_folder.iterdir())
    with Image.open(files[0]) as image:
        assert image.mode == "P"
        assert bytes(image.getpalette() or [])[:30] == davis_palette()[:30]
    counted = files[1:-1]  # DAVIS: neither first nor last
    predicted = np.stack([read_mask(str(file)) == 1 for file in counted])
    truth = np.stack([read_mask(str(truth_folder / file.name)) == 1 for file in counted])
    assert float(row["j"]) == pytest.approx(region_similarity(predicted, truth).mean(), abs=1e-12)
    assert float(row["f"]) == pytest.approx(boundary_accuracy(predicted, truth).mean(), abs=1e-12)


def test_the_same_weights_differ_by_nothing_and_every_requirement_is_judged(
    real: list[str], checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [
        "--baseline",
        str(checkpoint),
        "--output",
        str(tmp_path / "out"),
        "--prompt",
        "click:2",
        "--protocol",
        "sav",
    ]
    assert call(checkpoint, *real, *more, "--require", "delta_j>=0", "--require", "presence_accuracy > 0.5") == 0
    out = capsys.readouterr().out
    assert out.count("+0.000") == 3
    assert "Worse than the baseline" not in out
    assert {row["delta_f"] for row in rows_of(tmp_path / "out")} == {"0.0"}
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert (scores["protocol"], scores["prompt"]) == ("sav", "click:2")
    assert [len(clip["objects"][0]["frames"]) for clip in scores["result"]["clips"]] == [4, 4]
    assert not (tmp_path / "run").exists()


def test_worse_objects_are_named(
    made: Callable[[Masks], list[str]], checkpoint: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = made({"a": {1: [20, 20, 20]}})
    deltas = {}
    for first, second in ((checkpoint, baseline), (baseline, checkpoint)):
        assert call(first, *arguments, "--baseline", str(second)) == 0
        out = capsys.readouterr().out
        deltas[first] = float(next(line for line in out.splitlines() if line.startswith("a ")).split()[-1])
        warns = "Worse than the baseline by more than 0.005 J&F: a object 1." in out
        assert warns == (deltas[first] < -0.005), "the table has three digits"
    assert deltas[checkpoint] == -deltas[baseline] != 0


def test_absent_numbers_have_a_reason_and_satisfy_nothing(
    made: Callable[[Masks], list[str]], checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = made(
        {
            "long": {1: [20, 20, 20, 20], 2: [0, 0, 0, 0], 3: [None, None, None, None], 4: [None, None, 9, 9]},
            "one": {1: [20]},
        }
    )
    # Of object 3 there is only the mask of a frame that the video does not have.
    Image.fromarray(np.ones((48, 64), np.uint8)).save(tmp_path / "masks" / "long" / "3" / "00099.png")
    (tmp_path / "one.txt").write_text("one\n")
    assert call(checkpoint, *arguments) == 0
    lines = {tuple(line.split()[:2]): line for line in capsys.readouterr().out.splitlines()}
    assert lines["long", "1"].split()[2] not in ("–", "-")
    absent = {
        ("long", "2"): "the ground truth is empty",
        ("long", "3"): "labeled in no frame",
        ("long", "4"): "last frame",
        ("one", "1"): "the video has one frame",
    }
    rows = {(row["video"], row["object"]): row for row in rows_of(tmp_path / "run/evaluation/best_val_j_and_f")}
    for key, reason in absent.items():
        assert lines[key].split()[2:5] == ["–", "–", "–"]
        assert reason in lines[key]
        assert rows[key]["j"] == ""
        assert reason in rows[key]["reason"]
    assert "mean of 1 object(s)" in "\n".join(lines.values())
    assert "(4 without a score)" in "\n".join(lines.values())
    assert call(checkpoint, *arguments, "--split", str(tmp_path / "one.txt"), "--require", "j>=0") == 1
    assert "j is absent" in capsys.readouterr().out
    scores = json.loads((tmp_path / "run/evaluation/best_val_j_and_f/scores.json").read_text())
    assert scores["mean"] == {}
    assert scores["result"]["clips"][0]["objects"][0]["j"] is None


def test_frames_before_the_first_prompt_have_empty_masks(
    made: Callable[[Masks], list[str]], checkpoint: Path, tmp_path: Path
) -> None:
    arguments = made({"late": {1: [0, 0, 20, 20, 20], 300: [0, 0, 0, 16, 16]}})
    assert call(checkpoint, *arguments, "--output", str(tmp_path / "out")) == 0
    ids = [read_mask(str(tmp_path / "out" / "masks" / "late" / f"{t:05d}.png")) for t in range(5)]
    assert all(mask.dtype == np.uint16 for mask in ids)  # one kind of file for the video, because of id 300
    assert [set(np.unique(mask)) for mask in ids[:2]] == [{0}, {0}]
    assert 1 in ids[2]
    assert not any(300 in mask for mask in ids[:3])
    assert 300 in ids[3]


def test_val_dataset_is_evaluated_if_there_is_one(checkpoint: Path, tmp_path: Path) -> None:
    generated = "{dataset_type: synthetic, synthetic: {num_videos: 2, num_frames: 3, size: 64, num_objects: 1}}"
    assert call(checkpoint, f"val_dataset={generated}", "--output", str(tmp_path / "out")) == 0
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert (scores["dataset_section"], scores["num_videos"], scores["split"]) == ("val_dataset", 2, "all")


def test_held_out_videos_are_evaluated_if_there_are_some(
    made: Callable[[Masks], list[str]], checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = made({name: {1: [20, 20, 20]} for name in "abc"})
    assert call(checkpoint, *arguments, "dataset.val_fraction=0.01", "--output", str(tmp_path / "out")) == 0
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert (scores["dataset_section"], scores["num_videos"]) == ("dataset.val_fraction", 1)
    assert "There is no val_dataset" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (("--require", "j_and_f=0.7"), 2, "is not a condition"),
        (("--require", "accuracy>=0.7"), 2, "metrics: j, f, j_and_f"),
        (("--require", "delta_j>=0"), 2, "give --baseline"),
        (("--prompt", "click:0"), 2, "must be mask"),
        (("--split", "none.txt"), 6, "--split none.txt cannot be read: No such file"),
        (("--baseline", "none.pt"), 4, "none.pt does not exist"),
        (("scratch.resolution=65",), 2, "scratch.resolution=65"),
    ],
)
def test_what_is_asked_wrongly_is_said_before_anything_is_tracked(
    more: tuple[str, ...],
    code: int,
    message: str,
    made: Callable[[Masks], list[str]],
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(checkpoint, *made({"a": {1: [20, 20, 20]}}), *more) == code
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("scores.*"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\nmissing\n", "missing"),
        ("a\na\n", "names a 2 times"),
        ("# nothing\n", "names no video"),
        (b"\xff\xfe", "not a text file"),
    ],
)
def test_a_list_that_does_not_fit_is_named(
    text: str | bytes,
    message: str,
    made: Callable[[Masks], list[str]],
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    split = tmp_path / "split.txt"
    split.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert call(checkpoint, *made({"a": {1: [20, 20, 20]}}), "--split", str(split)) == 6
    error = capsys.readouterr().err
    assert message in error
    assert str(split) in error


def test_scores_of_an_earlier_evaluation_do_not_stay_when_a_frame_turns_out_damaged(
    made: Callable[[Masks], list[str]], checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*made({"a": {1: [20, 20, 20]}}), "--output", str(tmp_path / "out")]
    assert call(checkpoint, *arguments) == 0
    frame = sorted((tmp_path / "images" / "a").iterdir())[1]
    frame.write_bytes(frame.read_bytes()[:-20])
    assert call(checkpoint, *arguments) == 6
    assert str(frame) in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("scores.*"))


def test_checkpoints_that_do_not_fit_are_refused(
    made: Callable[[Masks], list[str]], checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = made({"a": {1: [20, 20, 20]}})
    weights = torch.load(checkpoint, weights_only=True)["model"]
    weights["image_encoder.trunk.patch_embed.proj.weight"] = torch.zeros(96, 3, 7, 7)
    torch.save({"model": weights}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("no checkpoint")
    for name, message in {"other.pt": "of another network", "text.pt": "not a checkpoint"}.items():
        assert call(tmp_path / name, *arguments) == 4
        error = capsys.readouterr().err
        assert message in error
        assert str(tmp_path / name) in error


def test_a_safetensors_file_without_its_package_is_explained(
    made: Callable[[Masks], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(weights_module, "find_spec", lambda name: None)
    assert call(tmp_path / "x.safetensors", *made({"a": {1: [20, 20, 20]}})) == 2
    assert "pip install safetensors" in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_made_is_said_first(
    made: Callable[[Masks], list[str]], checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert call(checkpoint, *made({"a": {1: [20, 20, 20]}}), "--output", str(tmp_path / "file" / "out")) == 2
    assert "--output: the folder" in capsys.readouterr().err
