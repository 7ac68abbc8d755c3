"""Size of a video's frames, known from the headers of all its files before any is decoded."""

from __future__ import annotations

from collections.abc import Sequence

from sam2_training.core.errors import DataError
from sam2_training.core.text import count
from sam2_training.data.config import Orientation
from sam2_training.data.headers import ImageHeader
from sam2_training.data.images import UnreadableFileError, read_frame_header


def size_of_frames(name: str, paths: Sequence[str], orientation: Orientation | None) -> tuple[int, int]:
    """(H, W) of a video's frames, as they are read. Reads the first bytes of each.

    name: the video's, for messages. Raises UnreadableFileError for frames of several sizes, and for files that are no
    frames by their header; DataError for an EXIF orientation if `orientation` does not say what it means.
    """
    headers = _headers(name, paths)
    turned = [(path, header.orientation) for path, header in zip(paths, headers, strict=True) if header.orientation > 1]
    if turned and orientation is None:
        path, value = turned[0]
        raise DataError(
            f"{count(len(turned), 'frame')} of video {name} with an EXIF orientation, such as {path} ({value})\n"
            "Viewers show such pictures turned. Set dataset.orientation=stored if masks and prompts lie on the pixels "
            "as they are stored, or dataset.orientation=shown if they lie on the picture as viewers show it."
        )
    sizes = [_size(header, orientation) for header in headers]
    others = [place for place, size in enumerate(sizes) if size != sizes[0]]
    if others:
        first, other = (f"{size[0]}x{size[1]} {paths[n]}" for n, size in ((0, sizes[0]), (others[0], sizes[others[0]])))
        raise UnreadableFileError(
            f"{count(len(others), 'frame')} of video {name} with another size than its first (height x width)\n"
            f"  {first}\n  {other}\nResize them, or leave the video out of dataset.file_list_txt."
        )
    return sizes[0]


def _size(header: ImageHeader, orientation: Orientation | None) -> tuple[int, int]:
    return header.size[::-1] if orientation == "shown" and header.orientation >= 5 else header.size


def _headers(name: str, paths: Sequence[str]) -> list[ImageHeader]:
    headers: list[ImageHeader] = []
    problems: list[UnreadableFileError] = []
    for path in paths:
        try:
            headers.append(read_frame_header(path))
        except UnreadableFileError as error:
            problems.append(error)
    if problems:
        more = f"\nThis and {count(len(problems) - 1, 'more frame')} of video {name} cannot be read."
        raise UnreadableFileError(f"{problems[0]}{more if len(problems) > 1 else ''}") from problems[0]
    return headers
