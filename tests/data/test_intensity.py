"""Which values of a stack become black and white: by percentiles of the video, by a range, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sam2_training.core.errors import ConfigError, DataError
from sam2_training.data.config import DatasetConfig, IntensityConfig
from sam2_training.data.index import VideoIndex, open_index
from sam2_training.tasks import load_config
from sam2_training.vos.config import VosConfig

RNG = np.random.default_rng(3)
LABELS = np.zeros((6, 20, 30), np.uint8)
LABELS[:, 4:9, 5:12] = 1


def opened(folder: Path, frames: np.ndarray, **intensity: tuple[float, float]) -> VideoIndex:
    np.savez(folder / "a.npz", imgs=frames, gts=LABELS)
    return open_index(DatasetConfig(data_path=str(folder), intensity=IntensityConfig(**intensity)))


def expected(frames: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.rint(np.clip((frames.astype(np.float64) - low) * (255 / (high - low)), 0, 255)).astype(np.uint8)


def read(index: VideoIndex) -> np.ndarray:
    return np.stack([index.frame(index.video(0), t) for t in range(6)])


def test_frames_of_8_bits_stay_as_they_are_unless_a_setting_says_otherwise(tmp_path: Path) -> None:
    frames = RNG.integers(10, 90, (6, 20, 30), np.uint8)
    assert np.array_equal(read(opened(tmp_path, frames))[..., 1], frames)
    stretched = read(opened(tmp_path, frames, percentiles=(0, 100)))[..., 1]
    assert np.array_equal(stretched, expected(frames, 10, 89))
    assert np.array_equal(read(opened(tmp_path, frames, range=(0, 100)))[..., 1], expected(frames, 0, 100))


def test_frames_of_16_bits_are_scaled_between_percentiles_of_the_whole_video(tmp_path: Path) -> None:
    """Levels by sorting all values: the smallest value that such a share of them does not exceed."""
    frames = RNG.integers(100, 4000, (6, 20, 30), np.uint16)
    frames[0, 0, 0], frames[5, 0, 0] = 65535, 0
    values = np.sort(frames.reshape(-1))
    low, high = (int(values[int(np.ceil(len(values) * p / 100)) - 1]) for p in (0.5, 99.5))
    index = opened(tmp_path, frames)
    assert index.video(0).levels == (low, high)
    assert np.array_equal(read(index)[..., 0], expected(frames, low, high))
    other = opened(tmp_path, frames, percentiles=(0, 50))
    assert other.video(0).levels == (0, int(values[len(values) // 2 - 1]))


@pytest.mark.parametrize("kind", ["i2", "u4", "f4", "f8"])
def test_other_types_are_scaled_too(tmp_path: Path, kind: str) -> None:
    frames = (RNG.random((6, 20, 30)) * 900).astype(kind)
    low, high = np.percentile(frames.astype(np.float64), (0.5, 99.5))
    assert np.array_equal(read(opened(tmp_path, frames))[..., 2], expected(frames, low, high))


def test_color_is_scaled_with_one_pair_of_levels_and_alpha_is_dropped(tmp_path: Path) -> None:
    frames = RNG.integers(0, 3000, (6, 20, 30, 4), np.uint16)
    assert np.array_equal(read(opened(tmp_path, frames, range=(0, 3000))), expected(frames[..., :3], 0, 3000))
    frames[..., 3] = 60000
    assert opened(tmp_path, frames, percentiles=(0, 100)).video(0).levels == (0, int(frames[..., :3].max()))


def test_a_video_of_one_value_is_black_and_bits_are_black_and_white(tmp_path: Path) -> None:
    assert not read(opened(tmp_path, np.full((6, 20, 30), 700, np.uint16))).any()
    bits = RNG.random((6, 20, 30)) > 0.5
    assert np.array_equal(read(opened(tmp_path, bits))[..., 0], bits * 255)


def test_pixels_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    frames = RNG.random((6, 20, 30))
    frames[2, 3, 4] = np.nan
    with pytest.raises(DataError, match=r"frame 2 has pixels that are not finite numbers: .*a\.npz"):
        opened(tmp_path, frames)


def test_the_settings_are_checked() -> None:
    def load(*settings: str) -> object:
        return load_config(
            "custom_finetune", ["dataset.dataset_type=stack", "dataset.gt_folder=x", *settings], VosConfig
        )

    load("dataset.intensity.percentiles=[1,99]")
    for setting, words in (
        ("dataset.intensity.percentiles=[1,101]", "lie between 0 and 100"),
        ("dataset.intensity.range=[9,3]", "must ascend"),
        ("dataset.channel=0", "be at least 1"),
    ):
        with pytest.raises(ConfigError, match=words):
            load(setting)
    with pytest.raises(ConfigError, match=r"percentiles and dataset\.intensity\.range are both set"):
        load("dataset.intensity.percentiles=[1,99]", "dataset.intensity.range=[0,9]")
