"""Holds videos out for validation, chosen by their names: adding videos moves none to the other side."""

from __future__ import annotations

import hashlib

from sam2_training.core.errors import ConfigError
from sam2_training.data.index import VideoIndex


def hold_out(index: VideoIndex, fraction: float) -> tuple[VideoIndex, VideoIndex]:
    """(training, validation): whole videos, about `fraction` of them in the second.

    A video is held out if the hash of its name, as a number from 0 to 1, lies below `fraction`: that depends on no
    other video. If that holds out none, the one with the lowest hash is; if all, the one with the highest is kept.
    Raises ConfigError for a dataset of one video.
    """
    if len(index) < 2:
        raise ConfigError(
            f"dataset.val_fraction={fraction} needs at least 2 videos, found {len(index)} in {index.source.location}; "
            "add videos, give val_dataset, or train without validation: dataset.val_fraction=0"
        )
    places = {number: name_hash(index.table.names[number]) for number in range(len(index))}
    ordered = sorted(places, key=lambda number: places[number])
    held = {number for number in ordered if places[number] < fraction} or {ordered[0]}
    if len(held) == len(index):
        held.remove(ordered[-1])
    return index.part([n for n in places if n not in held]), index.part(sorted(held))


def name_hash(name: str) -> float:
    """A number from 0 to 1 that depends on a video's name alone."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:8], "big") / 2**64
