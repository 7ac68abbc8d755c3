"""Real frames and ids for tests of formats, and the checks that every format has to pass."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image
from sam2_training.core.errors import DataError
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats import open_source
from sam2_training.data.index import VideoIndex, build_index, open_index
from sam2_training.data.source import UNLABELED

from tests.places import TEST_DATA, require_test_data
from tests.tiny_checkpoint import CPU, SETTINGS, run_script

Ids = dict[int, np.ndarray]
"""{number of a frame: ids [H, W] uint8 of its mask}."""


def frames_and_ids(name: str, num_frames: int) -> tuple[list[np.ndarray], Ids]:
    """RGB frames of a real video, the first ones, and the ids of those that have a mask."""
    images, masks = TEST_DATA / "vos" / "JPEGImages" / name, TEST_DATA / "vos" / "Annotations" / name
    require_test_data(images.is_dir(), name)
    paths = sorted(images.glob("*.jpg"))[:num_frames]
    frames = [cv2.imread(str(path))[..., ::-1].copy() for path in paths]
    found = {
        t: np.asarray(Image.open(masks / f"{path.stem}.png"))
        for t, path in enumerate(paths)
        if (masks / f"{path.stem}.png").is_file()
    }
    return frames, found


def write_frames(folder: Path, frames: list[np.ndarray], start: int = 0) -> None:
    """Frames as PNGs, so that their pixels stay."""
    folder.mkdir(parents=True)
    for t, frame in enumerate(frames, start=start):
        assert cv2.imwrite(str(folder / f"{t:06d}.png"), frame[..., ::-1])


def check_masks(index: VideoIndex, number: int, ids: Ids, new_id: Callable[[int], int] = lambda value: value) -> None:
    """Every mask of a video is that of the ids, pixel by pixel; frames without ids are unlabeled."""
    video = index.video(number)
    size = next(iter(ids.values())).shape
    values = sorted({int(value) for one in ids.values() for value in np.unique(one) if value})
    assert sorted(video.object_ids) == sorted(new_id(value) for value in values)
    for t in range(video.num_frames):
        if t not in ids:
            assert (video.areas[t] == UNLABELED).all(), t
            continue
        found = index.masks(video, t, [new_id(value) for value in values], size)
        for value, mask in zip(values, found, strict=True):
            assert np.array_equal(mask, ids[t] == value), (t, value)
            assert video.areas[t, video.object_ids.index(new_id(value))] == (ids[t] == value).sum()


def check_cache_and_pickle(config: DatasetConfig, cache: Path, change: Callable[[], None]) -> None:
    """A copy of the source reads the same; a changed file is noticed by the next start."""
    cache.mkdir()
    first = open_index(config, cache)
    copy = build_index(pickle.loads(pickle.dumps(open_source(config))), cache_dir=cache)
    assert copy.fingerprint() == first.fingerprint()
    video = copy.video(0)
    t = int(np.flatnonzero(video.labeled.any(1))[0])
    size = copy.frame(video, t).shape[:2]
    masks = copy.masks(video, t, video.object_ids, (size[0], size[1]))
    assert np.array_equal(masks, first.masks(first.video(0), t, video.object_ids, (size[0], size[1])))
    change()
    try:
        changed = open_index(config, cache).fingerprint()
    except DataError:
        return
    assert changed != first.fingerprint()


def check_trains(folder: Path, said: list[str], *settings: str) -> None:
    """Three steps from the command line; said: words of the banner."""
    run = folder / "run"
    ended = run_script(
        "train.py",
        *(*SETTINGS, CPU, "model.checkpoint=null", "scratch.num_frames=2", "trainer.max_steps=3"),
        *("scratch.num_train_workers=1", f"launcher.experiment_log_dir={run}", *settings),
        cwd=folder,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [line.split(",")[0] for line in (run / "metrics.csv").read_text().splitlines()][-1] == "3"
    for words in said:
        assert words in ended.stdout + ended.stderr, words


def check_refused(config: DatasetConfig, match: str) -> None:
    """Opening ends with a data error (exit code 6) that has these words."""
    with pytest.raises(DataError, match=match) as caught:
        open_index(config)
    assert caught.value.exit_code == 6


def read_or_named(read: Callable[[], object], file: str) -> None:
    """Reading works, or ends with a data error that names the file; nothing else may happen."""
    try:
        read()
    except DataError as error:
        message = str(error)
    else:
        return
    assert file in message


def damages(data: bytes) -> st.SearchStrategy[bytes]:
    """A file with some bytes overwritten, inserted, or cut off."""

    def damaged(cut: int, changes: list[tuple[int, bytes, bool]]) -> bytes:
        result = bytearray(data[: max(1, len(data) - cut)])
        for place, new, inserted in changes:
            at = place % len(result)
            result[at : at if inserted else at + len(new)] = new
        return bytes(result)

    change = st.tuples(st.integers(0, 2**31), st.binary(min_size=1, max_size=4), st.booleans())
    return st.builds(damaged, st.one_of(st.just(0), st.integers(0, len(data))), st.lists(change, max_size=4))
