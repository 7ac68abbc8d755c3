"""predict --format: the same masks and object ids in every format, read again with the frames that were tracked in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sam2_training.cli import main
from sam2_training.data.config import DatasetConfig
from sam2_training.data.index import open_index
from sam2_training.pictures.video import write_mp4
from sam2_training.writers import WRITERS

from tests.tiny_checkpoint import CPU, SETTINGS, save_tiny
from tests.writers.test_round_trip import LOSES_OVERLAPS

NUM_FRAMES = 4
PROMPTS = ("--box", "3:2,2,30,30", "--box", "700:20,10,60,44")


@pytest.fixture(scope="module", params=["folder", "mp4"])
def predicted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with frames/clip or frames/clip.mp4, and the output of predict in each format below out/."""
    root = tmp_path_factory.mktemp("predicted")
    rng, frames = np.random.default_rng(0), []
    for t in range(NUM_FRAMES):
        frame = rng.integers(0, 60, (48, 64, 3), np.uint8)
        frame[10:30, 10 + t : 30 + t] = (200, 60, 30)
        frames.append(frame)
    given = root / "frames" / ("clip.mp4" if request.param == "mp4" else "clip")
    given.parent.mkdir()
    if request.param == "mp4":
        write_mp4(given, frames, 10.0)
    else:
        given.mkdir()
        for t, frame in enumerate(frames):
            Image.fromarray(frame).save(given / f"{t:05d}.png")
    checkpoint = save_tiny(root / "checkpoint.pt")
    for name in WRITERS:
        words = ["predict", *SETTINGS, CPU, "--checkpoint", str(checkpoint), str(given), *PROMPTS]
        assert main([*words, "--output", str(root / "out" / name), "--format", name, "--no-overlay"]) == 0
    return root


def masks_of(root: Path, name: str) -> dict[int, np.ndarray]:
    """{object id: masks [F, H, W]} as they are read from a format."""
    out, frames = root / "out" / name, str(root / "frames")
    places = {
        "coco": {"data_path": str(out / "annotations.json")},
        "ytvis": {"data_path": str(out / "instances.json")},
        "davis": {"gt_folder": str(out)},
        "tiff": {"gt_folder": str(out)},
    }
    if name == "davis":  # the masks of one video have no folder of its name
        (out / "masks").rename(out / "clip")
    config = DatasetConfig(img_folder=frames, **places.get(name, {"data_path": str(out)}))
    index = open_index(config)
    video = index.video(0)
    assert (list(index.names), video.num_frames) == (["clip"], NUM_FRAMES)
    read = [index.masks(video, t, video.object_ids, (48, 64)) for t in range(NUM_FRAMES)]
    return {object_id: np.stack([masks[n] for masks in read]) for n, object_id in enumerate(video.object_ids)}


def test_all_formats_hold_the_same_masks_and_ids(predicted: Path) -> None:
    found = {name: masks_of(predicted, name) for name in WRITERS}
    whole = found["coco"]
    assert set(whole) == {3, 700}
    assert all(masks.any() for masks in whole.values())
    shared = whole[3] & whole[700]
    for name, masks in found.items():
        assert masks.keys() == whole.keys(), name
        for object_id, expected in whole.items():
            alone = ~shared if name in LOSES_OVERLAPS | {"davis"} else np.ones_like(shared)
            assert np.array_equal(masks[object_id] & alone, expected & alone), name
    for object_id in whole:
        assert np.array_equal(found["davis"][object_id], found["tiff"][object_id]), "the same object wins an overlap"


def test_files_of_formats_are_listed_as_ours_and_unknown_formats_are_refused(
    predicted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sam2_training.core.outputs import MANIFEST

    assert "annotations.json" in (predicted / "out" / "coco" / MANIFEST).read_text()
    with pytest.raises(SystemExit) as ended:
        main(["predict", *SETTINGS, "--checkpoint", "x", "in", "--output", "out", "--format", "gif"])
    assert ended.value.code == 2
    assert "invalid choice: 'gif'" in capsys.readouterr().err
