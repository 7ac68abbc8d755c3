"""Indexing a dataset of 50,000 videos on a local disk: every frame's header, every mask's pixels; CPU time."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from sam2_training.data.config import DatasetConfig
from sam2_training.data.frame_headers import size_of_frames
from sam2_training.data.index import open_index

NUM_VIDEOS = 50_000
FRAMES, MASKS = 4, 1
HEIGHT, WIDTH = 480, 854
LINKS_PER_FILE = 10_000
"""Names of one file on the disk: file systems allow about 65,000."""
TARGET_SECONDS = 150


def write_dataset(root: Path, num_videos: int) -> None:
    """num_videos x FRAMES names of a JPEG and x MASKS names of a mask PNG."""
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    frame = cv2.imencode(".jpg", cv2.resize(noise, (WIDTH, HEIGHT)))[1].tobytes()
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[100:300, 200:500], ids[250:400, 400:700] = 1, 2
    mask = Image.fromarray(ids)
    mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    for number in range(num_videos):
        name, source = f"v{number:06d}", root / f"files{number // LINKS_PER_FILE}"
        if number % LINKS_PER_FILE == 0:
            source.mkdir()
            for t in range(FRAMES):
                (source / f"{t:05d}.jpg").write_bytes(frame)
                mask.save(source / f"{t:05d}.png")
        for side, suffix, files in (("images", "jpg", FRAMES), ("masks", "png", MASKS)):
            (root / side / name).mkdir(parents=True)
            for t in range(files):
                os.link(source / f"{t:05d}.{suffix}", root / side / name / f"{t:05d}.{suffix}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=NUM_VIDEOS)
    parser.add_argument("--json", type=Path, help="write the row here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_dataset(root, arguments.videos)
        config = DatasetConfig(img_folder=str(root / "images"), gt_folder=str(root / "masks"))
        started, cpu = time.perf_counter(), time.process_time()
        index = open_index(config, root / "run")
        first, wall = time.process_time() - cpu, time.perf_counter() - started
        cpu = time.process_time()
        assert len(open_index(config, root / "run")) == arguments.videos
        again, cpu = time.process_time() - cpu, time.process_time()
        for name in index.names:
            paths = [str(root / "images" / name / f"{t:05d}.jpg") for t in range(FRAMES)]
            assert size_of_frames(name, paths, None) == (HEIGHT, WIDTH)
        headers = time.process_time() - cpu
    row = {
        "name": f"index of {arguments.videos:,} videos, {FRAMES} frames and {MASKS} mask of {WIDTH}x{HEIGHT} each",
        "unit": "s CPU",
        "ours": first,
        "target": TARGET_SECONDS * arguments.videos / NUM_VIDEOS,
        "note": f"of which headers of frames {headers:.1f} s; wall clock {wall:.0f} s, files in the page cache; "
        f"again, from the index's cache: {again:.1f} s",
    }
    print(json.dumps(row, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps([row]))


if __name__ == "__main__":
    main()
