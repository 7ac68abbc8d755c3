"""Keys of pictures: when they are made, and of which frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sam2_training.engine.plan import Order, RunPlan
from sam2_training.tasks import load_config
from sam2_training.vos.config import VosConfig
from sam2_training.vos.reporting import pictures
from sam2_training.vos.reporting.pictures import write_gif


def load(*overrides: str) -> VosConfig:
    return load_config("sam2.1_training/demo", overrides, VosConfig).config


def test_pictures_are_made_where_they_are_asked_for() -> None:
    def steps(*overrides: str) -> list[int]:
        plan = RunPlan(load(*overrides), Order(0, 8, 1, 1))
        return [step for step in range(1, 9) if plan.pictures_at(step)]

    assert steps() == []
    assert steps("visualization.train_every_n_steps=3") == [3, 6]
    assert steps("visualization.train_every_n_steps=3", "visualization.enabled=false") == []


def test_length_and_stride_choose_the_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clip:
        name, num_frames, object_ids = "a", 20, (1,)
        read_frame = staticmethod(lambda t: f"frame {t}")

    class Videos:
        clips = (Clip(),)
        masks_folder = staticmethod(lambda which: tmp_path / which)

    shown: list[list[str]] = []
    monkeypatch.setattr(pictures, "_predicted", lambda *_: "masks")
    monkeypatch.setattr(pictures, "write_overlay_gif", lambda _path, frames, *_: shown.append(frames))
    monkeypatch.setattr(Clip, "read_frame", lambda _self, t: _Frame(t))
    (tmp_path / "newest" / "a").mkdir(parents=True)
    summary: Any = type("Summary", (), {"step": 3})()
    videos: Any = Videos()
    for length, stride in ((8, 1), (3, 1), (3, 4)):
        config = load(f"visualization.max_length={length}", f"visualization.stride={stride}")
        write_gif(config, videos, summary, tmp_path / "gifs")
    assert [[frame.number for frame in frames] for frames in shown] == [list(range(8)), [0, 1, 2], [0, 4, 8]]


class _Frame:
    shape = (4, 4, 3)

    def __init__(self, number: int) -> None:
        self.number = number
