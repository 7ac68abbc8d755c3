"""Tracks objects through a whole video as stock SAM 2's video predictor does, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from sam2_training.core.errors import DataError, NonFiniteError
from sam2_training.vos.evaluation.frames import FrameSource, FrameStream, Normalizer
from sam2_training.vos.evaluation.prompts import Click, Mask, Prompt
from sam2_training.vos.evaluation.tracked_objects import ConditioningFrame, TrackedObjects
from sam2_training.vos.model.tracker import TrainableSAM2
from sam2_training.vos.sam2.adapter import ImageFeatures, MaskPrediction
from sam2_training.vos.sam2.inference import SAM2Inference, inference_settings
from sam2_training.vos.sam2.points import (
    LABEL_BOTTOM_RIGHT,
    LABEL_NEGATIVE,
    LABEL_POSITIVE,
    LABEL_TOP_LEFT,
    Points,
)

Clicker = Callable[[int, int, Mask], Click | None]
"""(object id, frame index, predicted mask) -> the user's next click on a conditioning frame; None: no more."""


@dataclass(frozen=True, eq=False)
class FrameMasks:
    """The masks of one frame's N tracked objects; objects whose first prompt comes later are not included."""

    frame_index: int
    object_ids: tuple[int, ...]
    masks: npt.NDArray[np.bool_]
    """[N, H, W], at the video's size; objects may overlap."""
    presence: npt.NDArray[np.float32]
    """[N]: logit of "the object is in this frame"."""


class VideoTracker:
    """Tracks objects through videos, forward in time, each from its first prompt; leaves the network as it was.

    Gives the masks of stock `build_sam2_video_predictor(...)` with its defaults and equal weights, one session for
    each first frame (up to rounding). A frame is encoded once for all objects; objects with prompts on the same frames
    are tracked as one batch.
    """

    def __init__(
        self,
        model: TrainableSAM2,
        device: torch.device,
        autocast_dtype: torch.dtype | None = None,
        batch_objects: bool = True,
        num_threads: int = 1,
    ) -> None:
        """device: where the model is. autocast_dtype: e.g. torch.bfloat16; None: the weights' own precision.
        num_threads: that read frames ahead.

        batch_objects=False tracks objects one by one, as stock does: slower, and free of batching's rounding.
        """
        self.model, self.device, self.batch_objects, self.num_threads = model, device, batch_objects, num_threads
        self._autocast_dtype = autocast_dtype
        self.normalize = Normalizer(int(model.image_size), model.pixel_mean, model.pixel_std)

    def track(
        self, frames: FrameSource, prompts: Sequence[Prompt], clicker: Clicker | None = None
    ) -> Iterator[FrameMasks]:
        """Masks of every frame from the first conditioning frame on, in order.

        Objects keep the order in which `prompts` first names them. clicker: called after each prediction on the frame
        of an object's first prompt, until it returns None. Until the iterator ends or is closed, the model is in
        evaluation mode. Raises DataError for a prompt outside the video or a mask of another size, and for frames that
        differ in size.
        """
        check_prompts(frames, prompts)
        order = {object_id: n for n, object_id in enumerate(dict.fromkeys(prompt.object_id for prompt in prompts))}
        with inference_settings(self.model), closing(self.open(frames)) as session:
            for frame_index, found in session.run(self._tracks(prompts), clicker):
                yield session.masks(frame_index, found, order)

    def open(self, frames: FrameSource) -> TrackingSession:
        """One video's session; for use inside `inference_settings` only. Close it after use."""
        return TrackingSession(self, frames, self._autocast_dtype)

    def _tracks(self, prompts: Sequence[Prompt]) -> list[TrackedObjects]:
        by_object: dict[int, list[Prompt]] = {}
        for prompt in prompts:
            by_object.setdefault(prompt.object_id, []).append(prompt)
        groups: dict[object, list[list[Prompt]]] = {}
        for object_id, own in by_object.items():
            frames = tuple(sorted(prompt.frame_index for prompt in own))
            groups.setdefault(frames if self.batch_objects else object_id, []).append(own)
        return [TrackedObjects(tuple(own[0].object_id for own in group), group) for group in groups.values()]


class TrackingSession:
    """One video and its frames; `run` may be called again for another pass over it."""

    def __init__(self, tracker: VideoTracker, frames: FrameSource, autocast_dtype: torch.dtype | None) -> None:
        self.model, self.device = tracker.model, tracker.device
        self.name, self.num_frames = frames.name, frames.num_frames
        self.inference = SAM2Inference(tracker.model)
        self.stream = FrameStream(frames, tracker.normalize, tracker.device, tracker.num_threads)
        self._autocast = torch.autocast(self.device.type, autocast_dtype, enabled=autocast_dtype is not None)

    def close(self) -> None:
        self.stream.__exit__()

    def run(
        self, tracks: Sequence[TrackedObjects], clicker: Clicker | None = None
    ) -> Iterator[tuple[int, list[tuple[TrackedObjects, MaskPrediction]]]]:
        """One pass from the earliest start on: for every frame (index, predictions of the tracks that have begun)."""
        if not tracks:
            return
        for frame_index, image in self.stream.in_order(min(track.start for track in tracks)):
            yield frame_index, self._frame(frame_index, image, tracks, clicker)

    @torch.no_grad()
    def _frame(
        self, frame_index: int, image: Tensor, tracks: Sequence[TrackedObjects], clicker: Clicker | None
    ) -> list[tuple[TrackedObjects, MaskPrediction]]:
        found = []
        with self._autocast:
            features = self.inference.encode(image)
            for track in tracks:
                if frame_index < track.start:
                    continue
                if frame_index == track.start and not track.conditioning:
                    self._condition(track, frame_index, features, clicker)
                found.append((track, track.advance(frame_index, features, self.inference, self.num_frames)))
        return found

    @torch.no_grad()
    def encode(self, frame_index: int) -> ImageFeatures:
        """Features of one frame, out of turn."""
        with self._autocast:
            return self.inference.encode(self.stream.one(frame_index))

    @torch.no_grad()
    def masks(
        self, frame_index: int, found: Sequence[tuple[TrackedObjects, MaskPrediction]], order: dict[int, int]
    ) -> FrameMasks:
        """One frame's predictions at the video's size, objects sorted by `order`."""
        ids = [object_id for track, _ in found for object_id in track.object_ids]
        masks = self.at_video_size(torch.cat([prediction.low_res for _, prediction in found]))
        presence = torch.cat([prediction.object_score_logits for _, prediction in found])[:, 0].float().cpu().numpy()
        if not np.isfinite(presence).all():
            raise NonFiniteError(
                f"the network's output is not finite on frame {frame_index} of {self.name}, so there are no masks\n"
                "Look at the weights, or track in a wider precision."
            )
        rows = sorted(range(len(ids)), key=lambda row: order[ids[row]])
        if rows != list(range(len(ids))):
            masks, presence = masks[rows], presence[rows]
        return FrameMasks(frame_index, tuple(ids[row] for row in rows), masks, presence)

    def at_video_size(self, low_res: Tensor) -> npt.NDArray[np.bool_]:
        """Masks [O, H, W] of logits [O, 1, S/4, S/4]."""
        assert self.stream.size is not None
        large = low_res
        if tuple(low_res.shape[-2:]) != self.stream.size:
            large = F.interpolate(low_res, size=self.stream.size, mode="bilinear", align_corners=False)
        return np.asarray((large[:, 0] > 0).cpu().numpy(), np.bool_)

    def points(self, box: tuple[float, float, float, float] | None, clicks: Sequence[Click]) -> Points:
        """A box and clicks, given in pixels of the video, for the network: [1, P, 2]."""
        assert self.stream.size is not None
        height, width = self.stream.size
        corners = [] if box is None else [box[:2], box[2:]]
        coords = torch.tensor([[*corners, *((click.x, click.y) for click in clicks)]], dtype=torch.float32)
        labels = [LABEL_TOP_LEFT, LABEL_BOTTOM_RIGHT] if box is not None else []
        labels += [LABEL_POSITIVE if click.positive else LABEL_NEGATIVE for click in clicks]
        # In this order of operations as stock, for equal bits.
        coords = coords / torch.tensor([width, height]) * self.model.image_size
        return Points(coords.to(self.device), torch.tensor([labels], dtype=torch.int32, device=self.device))

    def _condition(
        self, track: TrackedObjects, frame_index: int, features: ImageFeatures, clicker: Clicker | None
    ) -> None:
        """Predicts for the track's prompts: on its first frame and, as memory looks ahead to them, on later ones."""
        for t in track.prompted_frames:
            seen = features if t == frame_index else self.inference.encode(self.stream.one(t))
            ask = clicker if t == frame_index else None
            parts = [self._predict_prompted(prompt, seen, ask) for prompt in track.prompts_on(t)]
            track.conditioning[t] = ConditioningFrame.joined(parts, self.inference)

    def _predict_prompted(self, prompt: Prompt, features: ImageFeatures, clicker: Clicker | None) -> ConditioningFrame:
        points = None if prompt.mask is not None else self.points(prompt.box, prompt.clicks)
        given = self._mask_input(prompt.mask) if prompt.mask is not None else points
        assert given is not None
        prediction = self.inference.predict_prompted(prompt.frame_index, features, given, self.num_frames)
        while clicker is not None:
            predicted = self.at_video_size(prediction.low_res)[0]
            click = clicker(prompt.object_id, prompt.frame_index, predicted)
            if click is None:
                break
            more = self.points(None, [click])
            points = more if points is None else points.with_more(more)
            prediction = self.inference.predict_prompted(
                prompt.frame_index, features, points, self.num_frames, last=prediction
            )
        memory = self.inference.encode_memory(features, prediction, is_conditioning=True)
        return ConditioningFrame(prediction, memory, points)

    def correct(self, track: TrackedObjects, snapshot: TrackedObjects, frame_index: int, click: Click) -> None:
        """Clicks on a frame that was tracked in an earlier pass, which makes it a conditioning frame of the track.

        snapshot: the one object's track as it was when that frame was tracked (`TrackedObjects.snapshot`).
        """
        features = self.encode(frame_index)
        before = track.conditioning.get(frame_index)
        points = self.points(None, [click])
        if before is not None and before.points is not None:
            points = before.points.with_more(points)
        with torch.no_grad(), self._autocast:
            prediction = self.inference.predict_prompted(
                frame_index, features, points, self.num_frames, last=snapshot.last, memory=snapshot.memory
            )
            memory = self.inference.encode_memory(features, prediction, is_conditioning=True)
        track.conditioning[frame_index] = ConditioningFrame(prediction, memory, points)

    def _mask_input(self, mask: Mask) -> Tensor:
        """The mask at the network's size, float32 [1, 1, S, S] of 0 and 1."""
        assert self.stream.size is not None
        if mask.shape != self.stream.size:
            given, expected = ("x".join(map(str, size)) for size in (mask.shape, self.stream.size))
            raise DataError(
                f"a mask given as prompt for {self.name} is {given}, its frames are {expected} (height x width)\n"
                "Give a mask of the frames' size."
            )
        side = int(self.model.image_size)
        full = torch.from_numpy(np.ascontiguousarray(mask))[None, None].float().to(self.device)
        if mask.shape == (side, side):
            return full
        small = F.interpolate(full, size=(side, side), align_corners=False, mode="bilinear", antialias=True)
        return (small >= 0.5).float()


def check_prompts(frames: FrameSource, prompts: Sequence[Prompt]) -> None:
    """Raises DataError if a prompt lies outside the video, or an object has two on one frame."""
    seen = set()
    for prompt in prompts:
        where = f"object {prompt.object_id} of {frames.name}"
        if not 0 <= prompt.frame_index < frames.num_frames:
            raise DataError(
                f"{where} is prompted on frame {prompt.frame_index}, but the video has frames 0 to "
                f"{frames.num_frames - 1}"
            )
        if (prompt.object_id, prompt.frame_index) in seen:
            raise DataError(
                f"{where} has two prompts on frame {prompt.frame_index}: give one mask, or one box and clicks"
            )
        seen.add((prompt.object_id, prompt.frame_index))
