"""Masks as "CVAT for video 1.1" documents, <video>.xml, that `dataset.dataset_type=cvat` reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import numpy.typing as npt

from sam2_training.core.files import replacing
from sam2_training.core.outputs import below
from sam2_training.writers.writer import MaskWriter, WrittenFrame, WrittenVideo


class Writer(MaskWriter):
    """One track an object, its id less one as the track's, with a mask in each frame in which it is seen.

    Where the object is absent the track is outside. For CVAT a track is absent before its first mask, and stays outside
    until its next one: what is not labeled there becomes absent. After a mask it is left open, as it should be.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._states: dict[int, list[str | None]] = {}
        """{object id: for each frame a mask's element, "" where it is absent, None where that is not known}."""

    def files(self, videos: Sequence[WrittenVideo]) -> list[str]:
        return [_document(video) for video in videos]

    def begin(self, video: WrittenVideo) -> None:
        super().begin(video)
        self._states = {object_id: [None] * len(video.frame_files) for object_id in video.object_ids}

    def write(self, frame: WrittenFrame) -> None:
        for number, states in enumerate(self._states.values()):
            mask = frame.masks[number]
            if frame.is_labeled(number):
                states[frame.index] = _mask_element(frame.index, mask) if mask.any() else ""
        self.count_ignored(frame)

    def end(self) -> None:
        with replacing(below(self.folder, _document(self.video))) as path, path.open("w", encoding="utf-8") as document:
            document.writelines(self._lines())
        self._count_losses()

    def _count_losses(self) -> None:
        for t in range(len(self.video.frame_files)):
            states = [states[t] for states in self._states.values()]
            lost = sum(states[t] is None and _is_read_as_absent(states, t) for states in self._states.values())
            if all(state is None for state in states):
                self.losses["frames without labels, written as empty"] += lost > 0
            else:
                self.losses["objects of which a frame of others says nothing, written as absent there"] += lost

    def _lines(self) -> Iterator[str]:
        video = self.video
        height, width = video.size
        num_frames = len(video.frame_files)
        names = {object_id: video.object_names.get(object_id, "object") for object_id in video.object_ids}
        labels = "".join(f"<label><name>{escape(name)}</name></label>" for name in dict.fromkeys(names.values()))
        yield '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        yield (
            f"<meta><task><name>{escape(video.name)}</name><size>{num_frames}</size><mode>interpolation</mode>"
            f"<start_frame>0</start_frame><stop_frame>{num_frames - 1}</stop_frame><frame_filter></frame_filter>"
            f"<labels>{labels}</labels>"
            f"<original_size><width>{width}</width><height>{height}</height></original_size></task></meta>\n"
        )
        for object_id, states in self._states.items():
            yield f'<track id="{object_id - 1}" label={quoteattr(names[object_id])} source="manual">\n'
            for t, state in enumerate(states):
                if state:
                    yield state
                elif state == "" and not _is_read_as_absent(states, t):
                    yield (
                        f'<mask frame="{t}" keyframe="1" outside="1" occluded="0" rle="1" left="0" top="0" width="1" '
                        'height="1" z_order="0"></mask>\n'
                    )
            yield "</track>\n"
        yield "</annotations>\n"


def _is_read_as_absent(states: Sequence[str | None], frame_index: int) -> bool:
    """Whether a track without a shape in this frame is absent there: before its first mask, and after it has ended."""
    earlier = next((state for state in reversed(states[:frame_index]) if state is not None), "")
    return not earlier


def _mask_element(frame_index: int, mask: npt.NDArray[np.bool_]) -> str:
    """CVAT's mask: runs along the rows of its box, background first."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left, bottom, right = (int(side) for side in (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1))
    pixels = mask[top:bottom, left:right].reshape(-1)
    changes = np.flatnonzero(np.diff(pixels)) + 1
    runs = np.diff(np.concatenate([[0], changes, [len(pixels)]])).tolist()
    text = ", ".join(map(str, [0, *runs] if pixels[0] else runs))
    return (
        f'<mask frame="{frame_index}" keyframe="1" outside="0" occluded="0" rle="{text}" left="{left}" top="{top}" '
        f'width="{right - left}" height="{bottom - top}" z_order="0"></mask>\n'
    )


def _document(video: WrittenVideo) -> str:
    return f"{video.name}.xml"
