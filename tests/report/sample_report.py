"""A report of a run that never was, from real frames and masks: for tests, and for looking at the page.

`PYTHONPATH=training python -m tests.report.sample_report REPORT.html DATA_FOLDER` writes one; DATA_FOLDER holds vos/.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from sam2_training.core.columns import ColumnKind
from sam2_training.pictures.palette import hex_color
from sam2_training.pictures.strips import comparison_strip, spread_frames
from sam2_training.report.curves import score_chart, training_charts
from sam2_training.report.data import (
    Chart,
    ChartSection,
    DataSection,
    Headline,
    ProvenanceSection,
    Report,
    ReportPicture,
    ScoreRow,
    Scores,
    ScoreTable,
)
from sam2_training.report.page import write_report
from sam2_training.vos.reporting.data_summary import summarize_dataset
from sam2_training.vos.reporting.sections import score_sections, strip_sections, warning_sections

NUM_COLUMNS = 6
METRICS = ("J&F", "J", "F")
KINDS: dict[str, ColumnKind] = {
    **dict.fromkeys(("total", "mask", "dice", "iou", "class"), "loss"),
    "grad_norm": "gradient", "lr": "rate", "clips": "count", "memory_mib": "memory",
    **dict.fromkeys(("step_seconds", "data_wait_seconds"), "time"), **dict.fromkeys(("step", "epoch"), "step"),
}  # fmt: skip
HOSTILE_NAME = "<script>alert(1)</script>&a_very_long_video_name_without_any_space_in_it"
CLIPS: tuple[tuple[str, str, tuple[int, ...], float, float], ...] = (
    ("highest", "dogs-jump", (1, 2, 3), 0.5, 0.06),
    ("median", "libby", (1,), 0.3, 0.1),
    ("lowest", "bmx-bumps", (1,), 0.25, 0.4),
)
"""Place, video, object ids, and how far the masks before and after are from the truth."""


@dataclass(frozen=True)
class Clip:
    """Frames of a real video with true masks [N, H, W] each, and their indices."""

    indices: list[int]
    frames: list[npt.NDArray[np.uint8]]
    truth: list[npt.NDArray[np.bool_]]


def read_clip(data: Path, video: str, object_ids: tuple[int, ...], num_frames: int = NUM_COLUMNS) -> Clip:
    """Evenly spread frames of a video with masks for all frames."""
    paths = sorted((data / "vos" / "JPEGImages" / video).iterdir())
    indices = spread_frames(len(paths), num_frames)
    frames, truth = [], []
    for path in (paths[index] for index in indices):
        frames.append(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB))
        ids = np.asarray(_image(data / "vos" / "Annotations" / video / f"{path.stem}.png"))
        truth.append(np.stack([ids == object_id for object_id in object_ids]))
    return Clip(indices, frames, truth)


def degraded(masks: npt.NDArray[np.bool_], amount: float) -> npt.NDArray[np.bool_]:
    """Masks as a poor network might give them: shifted and ragged by `amount` (0: as they were)."""
    noise = cv2.resize(
        np.random.default_rng(5).normal(size=(12, 18)).astype(np.float32), masks.shape[:0:-1], interpolation=3
    )
    wrong = []
    for mask in masks:
        shift = np.array([[1, 0, 25 * amount], [0, 1, 9 * amount]], np.float32)
        moved = cv2.warpAffine(mask.astype(np.float32), shift, masks.shape[:0:-1])
        wrong.append(cv2.GaussianBlur(moved, (0, 0), 1 + 12 * amount) + 0.3 * amount * noise > 0.5)
    return np.stack(wrong)


def jaccard(mask: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float | None:
    union = (mask | truth).sum()
    return float((mask & truth).sum() / union) if union else None


def strips(data: Path) -> list[ReportPicture]:
    return [_strip(data, *clip) for clip in CLIPS]


def _strip(
    data: Path, label: str, video: str, object_ids: tuple[int, ...], before: float, after: float
) -> ReportPicture:
    clip = read_clip(data, video, object_ids)
    rows = [[clip.truth[0], *(degraded(masks, amount) for masks in clip.truth[1:])] for amount in (before, after)]
    scores = [
        [
            None,
            *(
                [jaccard(*pair) for pair in zip(m, t, strict=True)]
                for m, t in zip(row[1:], clip.truth[1:], strict=True)
            ),
        ]
        for row in rows
    ]
    picture = comparison_strip(
        clip.frames, clip.truth, *rows, object_ids,
        j_before=scores[0], j_after=scores[1], column_labels=[f"frame {index}" for index in clip.indices],
    )  # fmt: skip
    means = [np.mean([score for frame in row[1:] for score in frame or () if score is not None]) for row in scores]
    caption = f"J {means[0]:.3f} → {means[1]:.3f} on these frames, prompted with the first frame's mask"
    alt = f"Six frames of {video} with true masks, and masks before and after training"
    return ReportPicture(label, video, caption, picture, alt)


def comparison() -> ScoreTable:
    """A table with everything a table can hold: gains, losses, a draw, an absent score, a hostile name."""
    values = [
        ("dogs-jump", 1, 0.402, 0.921), ("dogs-jump", 2, 0.455, 0.893), ("dogs-jump", 3, 0.437, 0.880),
        ("libby", 1, 0.618, 0.795), ("surf", 1, 0.702, 0.702), ("car-shadow", 1, 0.835, 0.917),
        ("bmx-bumps", 1, 0.514, 0.431), ("chair", 9, 0.667, 0.752), (HOSTILE_NAME, 17, 0.402, 0.551),
    ]  # fmt: skip
    rows = [row(video, number, scores(before), scores(after)) for video, number, before, after in values]
    absent = Scores(reason="the object is labeled in the first frame only")
    rows.append(row("caps", 30, absent, absent))
    return ScoreTable(
        "validation set", METRICS, rows, scores(0.559), scores(0.760),
        protocol="DAVIS rules: per object, first and last frame left out; prompt: the first frame's mask; 10 objects.",
        before_name="sam2.1_hiera_t.pt", after_name="best, step 1,050",
    )  # fmt: skip


def scores(middle: float) -> Scores:
    return Scores((middle, middle - 0.021, middle + 0.021))


def row(video: str, object_id: int, before: Scores, after: Scores) -> ScoreRow:
    return ScoreRow(video, str(object_id), before, after, hex_color(object_id))


def retention() -> ScoreTable:
    rows = [row("street", 1, scores(0.911), scores(0.905)), row("kitchen", 4, scores(0.844), scores(0.731))]
    return ScoreTable(
        "retention set", METRICS, rows, scores(0.8775), scores(0.818),
        protocol="DAVIS rules.", before_name="sam2.1_hiera_t.pt", after_name="best",
    )  # fmt: skip


def metrics(num_steps: int = 1200) -> list[dict[str, float]]:
    """Rows as metrics.csv has them, with one step whose loss is not a number."""
    rng = np.random.default_rng(0)
    rows = []
    for step in range(1, num_steps + 1):
        decay = math.exp(-3.2 * step / num_steps)
        noise = rng.lognormal(0, 0.25, 4)
        terms = dict(zip(("mask", "dice", "iou", "class"), decay * noise * (0.12, 0.8, 0.2, 0.01) + 1e-4, strict=True))
        total = 20 * terms["mask"] + terms["dice"] + terms["iou"] + terms["class"]
        rows.append({
            "step": step, "epoch": step // 100, "total": math.nan if step == 400 else total, **terms,
            "grad_norm": 0.4 * decay * noise[0] + 0.03,
            "lr": 5e-6 * min(1, step / 60) * (0.55 + 0.45 * math.cos(math.pi * step / num_steps)),
            "clips": 8, "step_seconds": 1.9 + 0.15 * rng.random(), "data_wait_seconds": 0.05 * rng.random(),
            "memory_mib": 21_400 + 20 * (step > 30),
        })  # fmt: skip
    return rows


def validations(num_steps: int = 1200) -> list[dict[str, float | None]]:
    """Rows as validations give them: step 0 and every 150 steps."""
    rows: list[dict[str, float | None]] = []
    for step in range(0, num_steps + 1, 150):
        score = 0.559 + 0.2 * (1 - math.exp(-4 * step / num_steps)) - (0.012 if step == 750 else 0)
        loss = 3.1 * math.exp(-2.4 * step / num_steps) + 0.25
        rows.append(
            {"step": step, "val_j_and_f": score, "val_j": score - 0.021, "val_f": score + 0.021, "val_loss": loss}
        )
    return rows


def provenance() -> dict[str, object]:
    start = {
        "started": "2025-05-04T08:12:44+00:00", "command": ["python", "training/train.py", "-c", "sam2.1_training/x"],
        "config_sha256": "5f" * 32, "seed": 123, "git": {"commit": "c0ffee" * 6 + "c0ff", "dirty": False},
        "image": {}, "versions": {"torch": "2.11.0", "sam2": "1.1.0", "cuda": None},
        "machine": {"cpu": "A processor", "cpu_count": 16, "driver": None, "gpus": ["NVIDIA H200"]},
        "device": "cuda", "world_size": 1,
    }  # fmt: skip
    return {**start, "earlier_starts": [{**start, "started": "2025-05-03T20:01:10+00:00"}]}


def charts(num_steps: int = 1200) -> list[Chart]:
    checks = validations(num_steps)
    lines = {"val_j_and_f": "J&F", "val_j": "J", "val_f": "F"}
    return [
        *score_chart("J&F on the validation set", checks, lines),
        *training_charts(metrics(num_steps), KINDS, checks),
    ]


def sample_data(data: Path) -> Report:
    """A finished run's report with every section filled."""
    rng = np.random.default_rng(1)
    table, retained = comparison(), retention()
    return Report(
        title="sam2.1_training/custom_finetune",
        status="finished",
        note="Stopped early: val_j_and_f did not rise for 5 validations.",
        step=1200,
        max_steps=4000,
        written="2025-05-04T09:01:02+00:00",
        elapsed_seconds=2523.0,
        headline=Headline("J&F", table),
        sections=[
            *warning_sections({"validation": table, "retention": retained}),
            *strip_sections(strips(data)),
            *score_sections({"validation": table, "retention": retained}, ""),
            ChartSection(charts()),
            DataSection([_dataset("Training videos", rng, 212), _dataset("Validation videos", rng, 7)]),
            ProvenanceSection(provenance()),
        ],
    )


def _dataset(name, rng, num_videos):  # type: ignore[no-untyped-def]
    lengths = [int(length) for length in rng.integers(5, 120, num_videos)]
    areas = rng.lognormal(-3.6, 1.4, 40 * num_videos).clip(1e-6, 0.9)
    return summarize_dataset(
        name, lengths, list(areas), num_objects=2 * num_videos, visible=len(areas), absent=len(areas) // 9,
        unlabeled=len(areas) // 3, more={"frame sizes": "854×480 to 1920×1080"},
    )  # fmt: skip


def _image(path: Path):  # type: ignore[no-untyped-def]
    from PIL import Image

    return Image.open(path)


if __name__ == "__main__":
    write_report(Path(sys.argv[1]), sample_data(Path(sys.argv[2])))
