"""The result of an evaluation: rows for a table, JSON and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from sam2_training.vos.metrics.names import SCORE_NAMES
from sam2_training.vos.metrics.scores import MeanScore, ObjectScore, mean_score

Row = dict[str, str | int | float | None]


@dataclass(frozen=True)
class ClipResult:
    """One video's scores."""

    video: str
    num_frames: int
    objects: tuple[ObjectScore, ...]
    """In the order of object ids; one without a score says why."""
    object_folders: tuple[str, ...] = ()
    """In the order of objects: the folders of their masks, if these are not named by the ids."""
    seconds: float = field(default=0.0, compare=False)
    """Wall-clock time of tracking and scoring; not compared."""

    def mean(self) -> MeanScore:
        """The mean over this video's objects."""
        return mean_score(self.objects)


@dataclass(frozen=True)
class EvaluationResult:
    """Scores of all videos in the given order; the same on every rank and for any number of ranks."""

    prompt: str
    """As `PromptSpec.parse` takes it."""
    protocol: str
    clips: tuple[ClipResult, ...]

    def mean(self) -> MeanScore:
        """The mean over all objects of all videos, each counting alike."""
        return mean_score([score for clip in self.clips for score in clip.objects])

    def rows(self) -> list[Row]:
        """A row an object: video, object, frames (scored), the numbers (None where absent), reason.

        Where folders of objects are not named by the ids, the rows say which folder an object is: folder, after object.
        """
        with_folders = any(clip.object_folders for clip in self.clips)
        return [row for clip in self.clips for row in _rows(clip, with_folders)]

    def numbers(self) -> dict[str, float]:
        """The means that exist, by name: j, f, j_and_f, iou, dice, presence_accuracy."""
        mean = self.mean()
        found = {name: getattr(mean, name) for name in SCORE_NAMES}
        return {name: value for name, value in found.items() if value is not None}

    def to_json(self) -> dict[str, Any]:
        """Everything, per frame too, in lists and dictionaries; `from_json` is the inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> EvaluationResult:
        """The result that `to_json` described, also after a round through JSON. Raises KeyError or TypeError if not."""
        clips = tuple(
            ClipResult(
                **{
                    **clip,
                    "objects": tuple(_score(score) for score in clip["objects"]),
                    "object_folders": tuple(clip.get("object_folders", ())),
                }
            )
            for clip in values["clips"]
        )
        return cls(values["prompt"], values["protocol"], clips)


def _rows(clip: ClipResult, with_folders: bool) -> Iterator[Row]:
    folders = clip.object_folders or [""] * len(clip.objects)
    for score, folder in zip(clip.objects, folders, strict=True):
        row: Row = {"video": clip.video, "object": score.object_id}
        row.update({"folder": folder} if with_folders else {})
        row["frames"] = len(score.frames)
        row.update({name: getattr(score, name) for name in SCORE_NAMES})
        yield {**row, "reason": score.reason}


def _score(values: Mapping[str, Any]) -> ObjectScore:
    known = {one.name for one in fields(ObjectScore)}
    if set(values) != known:
        raise KeyError(f"an object's score has {sorted(values)}, expected {sorted(known)}")
    plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return ObjectScore(**plain)
