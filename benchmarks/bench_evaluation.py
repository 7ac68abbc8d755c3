"""Frames a second of tracking, stock SAM2VideoPredictor beside ours: same clip, weights, prompts and thread.

sam2.1_hiera_t with random weights at 256 px, 12 frames of 432x240, mask prompts on the first frame, 1 and 3 objects,
float32. From the first prompt to the last mask, frames read from JPEG files each time; CPU time of the process (on a
GPU: wall-clock time). The two take turns, and the median of the repeats counts. The note says in how many pixels their
masks differ.

Run: python benchmarks/bench_evaluation.py [--repeats 3] [--resolution 256] [--device cpu] [--bf16] [--json [FILE]]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "training")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from sam2_training.data.config import SyntheticConfig  # noqa: E402
from sam2_training.data.formats.synthetic import synthetic_video  # noqa: E402
from sam2_training.data.images import read_image  # noqa: E402
from sam2_training.vos.evaluation.prompts import Prompt  # noqa: E402
from sam2_training.vos.evaluation.tracker import VideoTracker  # noqa: E402
from sam2_training.vos.model.build import build_network  # noqa: E402
from sam2_training.vos.model.config import ModelConfig  # noqa: E402
from sam2_training.vos.model.tracker import TrainableSAM2  # noqa: E402

NETWORK = "sam2.1_hiera_t"
NUM_FRAMES = 12
HEIGHT, WIDTH = 240, 432
Masks = list[np.ndarray]
"""A frame's masks [N, H, W] each."""


class JpegClip:
    """A folder of JPEG files."""

    name = "generated"

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.glob("*.jpg"))
        self.num_frames = len(self.files)

    def read_frame(self, frame_index: int) -> np.ndarray:
        return read_image(str(self.files[frame_index]))


def write_clip(folder: Path) -> np.ndarray:
    """Writes the frames of a generated video; its first frame's masks [3, H, W]."""
    made = SyntheticConfig(num_videos=1, num_frames=NUM_FRAMES, size=WIDTH, num_objects=3)
    frames, masks = synthetic_video(0, 0, made)
    top = (WIDTH - HEIGHT) // 2
    for t, frame in enumerate(frames):
        Image.fromarray(frame[top : top + HEIGHT]).save(folder / f"{t:05d}.jpg", quality=90)
    return masks[0][:, top : top + HEIGHT]


def random_network(resolution: int) -> TrainableSAM2:
    """Random weights under which objects are predicted to be there: an absent one would be no work to draw."""
    torch.manual_seed(0)
    network = build_network(ModelConfig(name=NETWORK, image_size=resolution))
    with torch.no_grad():
        network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(2.0)
    return network


def stock_predictor(network: TrainableSAM2, device: str) -> Any:
    from sam2.build_sam import build_sam2_video_predictor

    size = [f"++model.image_size={network.image_size}"]
    predictor = build_sam2_video_predictor(
        "configs/sam2.1/sam2.1_hiera_t.yaml", device=device, hydra_overrides_extra=size
    )
    predictor.load_state_dict(network.state_dict())
    return predictor


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Without stock's progress bars and its warnings about holes."""
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def run_stock(predictor: Any, folder: Path, first: np.ndarray) -> Masks:
    state = predictor.init_state(str(folder))
    for n, mask in enumerate(first):
        predictor.add_new_mask(state, 0, n + 1, torch.from_numpy(mask))
    return [(masks[:, 0] > 0).cpu().numpy() for _, _, masks in predictor.propagate_in_video(state)]


def run_ours(tracker: VideoTracker, folder: Path, first: np.ndarray) -> Masks:
    prompts = [Prompt(n + 1, 0, mask=mask) for n, mask in enumerate(first)]
    return [frame.masks for frame in tracker.track(JpegClip(folder), prompts)]


def compare(
    sides: dict[str, Callable[[], Masks]], repeats: int, clock: Callable[[], float]
) -> tuple[dict[str, float], float]:
    """({side: median seconds a frame}, largest fraction of an object's pixels that differ in a frame)."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    masks: dict[str, Masks] = {}
    for _ in range(repeats + 1):
        for name, run in sides.items():
            began = clock()
            masks[name] = run()
            seconds[name].append((clock() - began) / NUM_FRAMES)
    one, other = masks.values()
    different = max(float((a ^ b).mean((1, 2)).max()) for a, b in zip(one, other, strict=True))
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}, different


def measure(repeats: int, resolution: int, device: str, bf16: bool) -> list[dict[str, Any]]:
    """Rows {"name", "stock", "ours", "unit", "target", "note"}: milliseconds a frame."""
    rows = []
    # On a CPU that others use too, only the process's own time says something.
    clock, unit = (time.process_time, "ms CPU") if device == "cpu" else (time.perf_counter, "ms")
    network = random_network(resolution).to(device)
    dtype = torch.bfloat16 if bf16 else None
    tracker = VideoTracker(network, torch.device(device), dtype)
    with tempfile.TemporaryDirectory() as name, silence(), torch.autocast(device, dtype, enabled=bf16):
        folder = Path(name)
        first, predictor = write_clip(folder), stock_predictor(network, device)
        for num_objects in (1, 3):
            chosen = first[:num_objects]
            sides = {
                "stock": lambda chosen=chosen: run_stock(predictor, folder, chosen),
                "ours": lambda chosen=chosen: run_ours(tracker, folder, chosen),
            }
            medians, different = compare(sides, repeats, clock)
            speeds = {side: 1 / value for side, value in medians.items()}
            rows.append(
                {
                    "name": f"tracking, hiera_t at {resolution}, {num_objects} object{'s' if num_objects > 1 else ''}",
                    **{side: 1000 * value for side, value in medians.items()},
                    "unit": f"{unit} a frame",
                    "target": 1000 * medians["stock"],
                    "note": f"{speeds['stock']:.1f} -> {speeds['ours']:.1f} frames/s; masks differ in "
                    f"{100 * different:.4f} % of pixels at most",
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="runs per median")
    parser.add_argument("--resolution", type=int, default=256, help="side of the input, pixels; a multiple of 32")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--bf16", action="store_true", help="both under autocast to bfloat16")
    parser.add_argument("--json", nargs="?", const="-", help="write the rows to this file, or print them as last line")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(max(1, arguments.repeats), arguments.resolution, arguments.device, arguments.bf16)
    for row in rows:
        ratio = row["stock"] / row["ours"]
        measured = f"stock {row['stock']:.0f}, ours {row['ours']:.0f} {row['unit']}"
        print(f"{row['name']}: {measured}, {ratio:.2f}x; {row['note']}")
    if arguments.json == "-":
        print(json.dumps(rows))
    elif arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
