"""Prediction: tracks prompted objects through a user's video and writes masks and pictures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2

from sam2_training.core.errors import DataError
from sam2_training.core.files import write_bytes
from sam2_training.core.progress_bar import Progress
from sam2_training.core.shared_work import HeartbeatCallback, no_heartbeat
from sam2_training.data.config import Orientation
from sam2_training.data.formats.frame_folder import FrameFolder
from sam2_training.data.formats.video_file import VideoFile
from sam2_training.data.index import build_index
from sam2_training.data.source import Frame, VideoSource
from sam2_training.pictures.overlay import NO_PREDICTION, Masks, fitting_size, overlay, resized
from sam2_training.pictures.strips import CELL_BOX, contact_sheet, spread_frames
from sam2_training.pictures.video import write_mp4
from sam2_training.vos.evaluation.clips import EvaluationClip
from sam2_training.vos.evaluation.prompts import Prompt
from sam2_training.vos.evaluation.tracker import VideoTracker
from sam2_training.writers import open_writer
from sam2_training.writers.davis import Writer as FolderOfMasks
from sam2_training.writers.writer import MaskWriter, WrittenFrame, WrittenVideo

OVERLAY = "overlay.mp4"
CONTACT_SHEET = "contact_sheet.png"
SHEET_FRAMES = 20


@contextmanager
def open_video(path: Path, orientation: Orientation | None = None) -> Iterator[EvaluationClip]:
    """The frames of a folder, or of a video file. Raises DataError if it is neither.

    orientation: of frames in a folder, see `size_of_frames`; a video file's are turned as players show them.
    """
    if not path.exists():
        raise DataError(f"the input does not exist: {path}\nGive a folder of frames, or an mp4.")
    source: VideoSource = FrameFolder(path, orientation) if path.is_dir() else VideoFile(path)
    with closing(source):
        yield EvaluationClip(build_index(source), 0)


def mask_writer(mask_format: str, output: Path) -> MaskWriter:
    """The writer of a format in `writers.WRITERS`; davis: masks/<frame>.png, without a folder for the one video."""
    return FolderOfMasks(output, in_folders=False) if mask_format == "davis" else open_writer(mask_format, output)


def written_video(video: EvaluationClip, prompts: Sequence[Prompt]) -> WrittenVideo:
    """The video as writers of masks take it."""
    files = [file if PurePosixPath(file).suffix else f"{file}.png" for file in video.video.frame_files]
    height, width = video.read_frame(0).shape[:2]
    return WrittenVideo(
        name=video.name,
        frame_files=tuple(files),
        size=(height, width),
        object_ids=tuple(prompt.object_id for prompt in prompts),
        frames_per_second=video.index.source.frames_per_second(),
    )


def result_files(writer: MaskWriter, video: WrittenVideo, make_overlay: bool) -> list[str]:
    """Paths below the output folder of what `predict` writes."""
    return [*writer.files([video]), CONTACT_SHEET, *([OVERLAY] if make_overlay else [])]


class KeptFrames:
    """Keeps the frames of a video that were read for the network until `take`, so that each is decoded once."""

    def __init__(self, video: EvaluationClip) -> None:
        self.name, self.num_frames = video.name, video.num_frames
        self._video = video
        self._waiting: dict[int, Frame] = {}
        """At most as many as the tracker reads ahead, and the one it works on."""

    def read_frame(self, frame_index: int) -> Frame:
        frame = self._video.read_frame(frame_index)
        self._waiting[frame_index] = frame
        return frame

    def take(self, frame_index: int) -> Frame:
        """A frame that was read; it is not kept any longer."""
        return self._waiting.pop(frame_index)


class ContactSheet:
    """A contact sheet: frames with their masks, evenly spread over the video, resized to thumbnails."""

    def __init__(self, num_frames: int, object_ids: Sequence[int]) -> None:
        self._chosen = set(spread_frames(num_frames, SHEET_FRAMES))
        self._object_ids = object_ids
        self._cells: list[tuple[Frame, Masks, str]] = []

    def offer(self, frame_index: int, frame: Frame, masks: Masks, label: str) -> None:
        """Keeps the frame if it is one of the sheet's."""
        if frame_index in self._chosen:
            width, height = fitting_size((frame.shape[1], frame.shape[0]), CELL_BOX)
            self._cells.append((*resized(frame, masks, width, height), label))

    def write(self, path: Path) -> None:
        """Writes the sheet as PNG, whole or not at all."""
        frames, masks, labels = zip(*self._cells, strict=True)
        sheet = contact_sheet(frames, masks, self._object_ids, labels)
        _, encoded = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
        write_bytes(path, encoded.tobytes())


@dataclass(frozen=True)
class Predicted:
    """What was tracked."""

    num_frames: int
    num_empty: int
    """Frames in which no object was found."""


def predict(
    tracker: VideoTracker,
    video: EvaluationClip,
    prompts: Sequence[Prompt],
    writer: MaskWriter,
    frames_per_second: float,
    *,
    make_overlay: bool = True,
    enable_bar: bool = True,
    heartbeat: HeartbeatCallback = no_heartbeat,
) -> Predicted:
    """Tracks the prompted objects and writes masks, overlay.mp4 and contact_sheet.png into the writer's folder.

    prompts: all on frame 0. Frames are not kept in memory. Where a format holds one object a pixel and masks overlap,
    the object with the higher presence logit is written. Raises DataError for frames that cannot be read or
    differ in size. heartbeat: called after each frame.
    """
    object_ids = [prompt.object_id for prompt in prompts]
    sheet = ContactSheet(video.num_frames, object_ids)
    empty: list[int] = []
    with Progress(video.num_frames, "frames", sys.stderr, enable_bar) as progress:

        def on_frame(done: int, found: bool) -> None:
            empty.extend([] if found else [done - 1])
            progress.reach(done, video.name)
            heartbeat()

        with writer:
            writer.begin(written_video(video, prompts))
            drawn = _drawn_frames(tracker, video, prompts, writer, sheet, on_frame)
            overlay_path = writer.folder / OVERLAY
            count = write_mp4(overlay_path, drawn, frames_per_second) if make_overlay else sum(1 for _ in drawn)
            writer.end()
    sheet.write(writer.folder / CONTACT_SHEET)
    return Predicted(count, len(empty))


def _drawn_frames(
    tracker: VideoTracker,
    video: EvaluationClip,
    prompts: Sequence[Prompt],
    writer: MaskWriter,
    sheet: ContactSheet,
    on_frame: Callable[[int, bool], None],
) -> Iterator[Frame]:
    """Each frame with its masks drawn on it; writes the masks and fills the sheet on the way.

    on_frame: called with the number of frames done and whether an object was found in the last of them.
    """
    frames = KeptFrames(video)
    object_ids = [prompt.object_id for prompt in prompts]
    for found in tracker.track(frames, prompts):
        t = found.frame_index
        frame, name = frames.take(t), video.video.frame_name(t)
        writer.write(WrittenFrame(t, found.masks, found.presence))
        sheet.offer(t, frame, found.masks, name)
        yield overlay(frame, found.masks, object_ids, numbers=len(object_ids) > 1, empty_note=NO_PREDICTION)
        on_frame(t + 1, bool(found.masks.any()))
