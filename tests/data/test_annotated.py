"""The base of formats with regions in documents: areas, unions, ignored pixels, absent and unlabeled objects."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from sam2_training.core.errors import DataError
from sam2_training.data import rle
from sam2_training.data.formats.annotated import IGNORED, AnnotatedSource, AnnotatedVideo, Region
from sam2_training.data.frames import FrameLibrary
from sam2_training.data.index import build_index
from sam2_training.data.source import UNLABELED

SIZE = (20, 30)


def box(top: int, left: int, bottom: int, right: int) -> bytes:
    mask = np.zeros(SIZE, np.bool_)
    mask[top:bottom, left:right] = True
    return rle.encode(mask)


class Boxes(AnnotatedSource):
    """Object 2 has two regions in frame 0; object 5 is absent in frame 1; nothing is known of frame 2."""

    def __init__(self, folder: Path, size: tuple[int, int] | None = SIZE) -> None:
        super().__init__()
        self.location = self.mask_location = str(folder)
        self.size = size
        self.library = FrameLibrary(str(folder))

    def videos(self) -> list[str]:
        return self.library.names()

    def annotated(self, name: str) -> AnnotatedVideo:
        regions = {
            0: [Region(2, box(0, 0, 4, 4)), Region(2, box(2, 2, 6, 6)), Region(5, box(0, 0, 10, 10))],
            1: [Region(2, box(0, 0, 8, 8)), Region(IGNORED, box(4, 0, 20, 30))],
        }
        labeled = np.array([True, True, False])
        tallies = {"named": 2}
        return AnnotatedVideo(
            self.library.of_video(name), (2, 5), labeled, lambda t: regions.get(t, []), self.size, tallies=tallies
        )

    def reading(self, tallies: Mapping[str, int]) -> list[str]:
        return [f"objects with names: {tallies['named']}"]

    def annotation_path(self, name: str, frame_index: int) -> str:
        return f"{self.location}/{name}.boxes"

    def annotation_files(self, name: str) -> Sequence[str]:
        return [self.annotation_path(name, 0)]


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    for t in range(3):
        cv2.imwrite(str(tmp_path / "a" / f"{t}.png"), np.full((*SIZE, 3), 80 * t, np.uint8))
    return tmp_path


def test_areas_are_those_of_the_masks_that_are_read(videos: Path, tmp_path: Path) -> None:
    source = Boxes(videos)
    index = build_index(source, cache_dir=tmp_path)
    video = index.video(0)
    assert video.areas.tolist() == [[16 + 16 - 4, 100], [32, 0], [UNLABELED, UNLABELED]]
    assert index.labels(video, 0, (2, 5), SIZE).ignored is None
    labels = index.labels(video, 1, (2, 5), SIZE)
    assert labels.masks.sum((1, 2)).tolist() == [32, 0]
    assert labels.ignored is not None
    assert labels.ignored.sum((1, 2)).tolist() == [16 * 30, 16 * 30]
    assert index.frame(video, 2).mean() == 160
    assert index.source.where(video, 1).mask.endswith("a.boxes")


def test_a_pickled_source_and_a_cached_index_are_the_same(videos: Path, tmp_path: Path) -> None:
    fingerprint = build_index(Boxes(videos), cache_dir=tmp_path).fingerprint()
    again = build_index(pickle.loads(pickle.dumps(Boxes(videos))), cache_dir=tmp_path)
    assert again.fingerprint() == fingerprint
    assert again.labels(again.video(0), 0, (5,), SIZE).masks.sum() == 100


def test_what_was_counted_while_reading_is_added_up_for_the_banner_also_from_the_cache(
    videos: Path, tmp_path: Path
) -> None:
    (videos / "b").mkdir()
    for t in range(3):
        cv2.imwrite(str(videos / "b" / f"{t}.png"), np.zeros((*SIZE, 3), np.uint8))
    for _ in range(2):
        index = build_index(Boxes(videos), cache_dir=tmp_path)
        assert "labels: objects with names: 4" in index.describe()
    assert "labels: objects with names: 2" in index.part([1]).describe()


def test_frames_of_another_size_than_the_annotations_are_refused(videos: Path) -> None:
    with pytest.raises(DataError, match=r"video a is 30x20 by its annotations, its frames are 20x30"):
        build_index(Boxes(videos, (30, 20)))


def test_a_video_without_frames_is_named(videos: Path) -> None:
    with pytest.raises(DataError, match=r"video b has no folder of frames, expected .*/b\n"):
        FrameLibrary(str(videos)).of_video("b")
