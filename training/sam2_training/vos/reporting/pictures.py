"""Pictures of a run: film strips of validation videos, a GIF, and predictions on a training clip."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from sam2_training.core.files import set_aside
from sam2_training.engine.task import RunSummary
from sam2_training.pictures.overlay import NO_OBJECT
from sam2_training.pictures.strips import StripRow, comparison_strip, film_strip, spread_frames, strided_frames
from sam2_training.pictures.video import write_overlay_gif
from sam2_training.report.data import ReportPicture
from sam2_training.vos.batch import VideoBatch
from sam2_training.vos.config import VosConfig
from sam2_training.vos.eval_mode import eval_mode, preserved_rng
from sam2_training.vos.evaluation.clips import EvaluationClip
from sam2_training.vos.evaluation.measured_set import BEST, INITIAL, NEWEST, MeasuredSet
from sam2_training.vos.evaluation.result import ClipResult
from sam2_training.vos.model.prompts import mask_plan
from sam2_training.vos.model.tracker import TrainableSAM2
from sam2_training.vos.reporting.score_tables import compared_step

GIF_FRAMES_PER_SECOND = 5.0
_logger = logging.getLogger(__name__)


def film_strips(config: VosConfig, videos: MeasuredSet, summary: RunSummary) -> list[ReportPicture]:
    """Film strips of the videos with the highest, the median and the lowest J&F after training."""
    after_step = compared_step(summary)
    after, before = videos.result_of(after_step), videos.result_of(0)
    if after is None:
        return []
    scored = [clip for clip in after.clips if clip.mean().j_and_f is not None]
    scored.sort(key=lambda clip: (-(clip.mean().j_and_f or 0.0), clip.video))
    if not scored:
        return []
    chosen: list[tuple[str, ClipResult]] = [("highest", scored[0])]
    chosen += [("median", scored[len(scored) // 2])] if len(scored) > 2 else []
    chosen += [("lowest", scored[-1])] if len(scored) > 1 else []
    clips = {clip.name: clip for clip in videos.clips}
    former = {clip.video: clip for clip in before.clips} if before is not None else {}
    which = BEST if summary.best_step else (NEWEST if after_step else INITIAL)
    return [
        _strip(config, label, clips[clip.video], clip, former.get(clip.video), videos, which) for label, clip in chosen
    ]


def _strip(
    config: VosConfig,
    label: str,
    clip: EvaluationClip,
    after: ClipResult,
    before: ClipResult | None,
    videos: MeasuredSet,
    which: str,
) -> ReportPicture:
    chosen = _chosen_frames(clip, config.visualization.max_length, config.visualization.stride)
    ground_truth = [clip.ground_truth(t) if clip.labeled[t].any() else None for t in chosen]

    def masks(folder: str) -> list[npt.NDArray[np.bool_] | None]:
        return [_predicted(videos.masks_folder(folder) / clip.name, clip, t) for t in chosen]

    picture = comparison_strip(
        [clip.read_frame(t) for t in chosen],
        ground_truth,
        masks(INITIAL),
        masks(which),
        clip.object_ids,
        j_before=[_j_at(before, t) for t in chosen],
        j_after=[_j_at(after, t) for t in chosen],
        column_labels=[f"frame {t}" for t in chosen],
    )
    now, then = after.mean().j_and_f, before.mean().j_and_f if before is not None else None
    change = f"J&F {then:.3f} before, {now:.3f} after" if then is not None else f"J&F {now:.3f}"
    return ReportPicture(
        label,
        clip.name,
        change,
        picture,
        f"{len(chosen)} frames of {clip.name} with ground-truth masks, and masks predicted before and after training",
    )


def _chosen_frames(clip: EvaluationClip, max_length: int, stride: int) -> list[int]:
    """Frames for a strip: spread over the labeled ones, at least `stride` apart."""
    labeled = np.flatnonzero(clip.labeled.any(axis=1)).tolist()
    places = spread_frames(len(labeled), max_length)
    if stride > 1 and len(places) > 1 and places[1] - places[0] < stride:
        places = strided_frames(len(labeled), stride, max_length)
    return [int(labeled[place]) for place in places]


def _predicted(folder: Path, clip: EvaluationClip, frame_index: int) -> npt.NDArray[np.bool_] | None:
    """Masks [N, H, W] from the PNG that the evaluation wrote; None if there is none."""
    path = folder / f"{clip.frame_names[frame_index]}.png"
    if not path.is_file():
        return None
    try:
        with Image.open(path) as image:
            ids = np.asarray(image)
    except (OSError, ValueError, SyntaxError) as error:
        _logger.warning("%s is damaged (%s): renamed %s", path, error, set_aside(path, "corrupt").name)
        return None
    return np.stack([ids == object_id for object_id in clip.object_ids])


def _j_at(clip: ClipResult | None, frame_index: int) -> Sequence[float | None] | None:
    """J of each object in a frame, None for one that does not count there; None if none does."""
    if clip is None:
        return None
    found = [dict(zip(score.frames, score.j_per_frame, strict=True)).get(frame_index) for score in clip.objects]
    return found if any(j is not None for j in found) else None


def write_gif(config: VosConfig, videos: MeasuredSet, summary: RunSummary, folder: Path) -> None:
    """<folder>/step_<n>.gif: the first video with the masks predicted last; nothing where no masks are kept."""
    clip = videos.clips[0]
    newest = videos.masks_folder(NEWEST if summary.step else INITIAL) / clip.name
    if not newest.is_dir():
        newest = videos.masks_folder(BEST) / clip.name  # the newest are the best, and have moved
    chosen = strided_frames(clip.num_frames, config.visualization.stride, config.visualization.max_length)
    masks = [_predicted(newest, clip, t) for t in chosen]
    if all(found is None for found in masks):
        return
    frames = [clip.read_frame(t) for t in chosen]
    nothing = np.zeros((len(clip.object_ids), *frames[0].shape[:2]), np.bool_)
    shown = [nothing if found is None else found for found in masks]
    folder.mkdir(parents=True, exist_ok=True)
    write_overlay_gif(folder / f"step_{summary.step:08d}.gif", frames, shown, clip.object_ids, GIF_FRAMES_PER_SECOND)


@torch.no_grad()
def training_strip(model: TrainableSAM2, batch: VideoBatch, max_length: int) -> npt.NDArray[np.uint8]:
    """A film strip of a batch's first clip: frames, ground truth, and masks tracked from that of its first frame."""
    own = (batch.object_clip == 0).cpu()
    with preserved_rng(model), eval_mode(model):
        outputs = model.track(batch, mask_plan(batch.num_frames))
    chosen = spread_frames(batch.num_frames, max_length)
    ground_truth = [batch.masks(t).cpu()[own].numpy() for t in chosen]
    predicted = [(outputs[t].final_masks[:, 0] > 0).cpu()[own].numpy() for t in chosen]
    rows = [StripRow("frame"), StripRow("truth", ground_truth, empty_note=NO_OBJECT), StripRow("predicted", predicted)]
    ids = batch.object_ids.cpu()[own].tolist()
    return film_strip([batch.frames[0, t].cpu().numpy() for t in chosen], rows, ids, [f"frame {t}" for t in chosen])
