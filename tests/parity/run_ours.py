"""Computes every case with our code, from run_stock.py's weights and clicks. Usage: run_ours.py <work folder>.

A process of its own, because computing in float64 throughout changes torch for the whole process.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "training"), str(HERE)]

import cases  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from sam2_training.engine.task import StepContext  # noqa: E402
from sam2_training.tasks import load_config  # noqa: E402
from sam2_training.vos.batch import BatchInfo, VideoBatch  # noqa: E402
from sam2_training.vos.config import VosConfig  # noqa: E402
from sam2_training.vos.model import prompts  # noqa: E402
from sam2_training.vos.model.build import build_network  # noqa: E402
from sam2_training.vos.model.step import ClipStep  # noqa: E402
from sam2_training.vos.model.weights import load_weights  # noqa: E402
from sam2_training.vos.sam2.points import Points  # noqa: E402


class StocksChoices(StepContext):
    """A place in the run whose random choices are those that stock drew for a case."""

    def __init__(self, case: cases.Case) -> None:
        super().__init__(seed=0, step=0)
        object.__setattr__(self, "case", case)

    def shared_rng(self, stream: str) -> np.random.Generator:
        return cases.structure_rng(self.case)  # type: ignore[attr-defined]


def make_batch(case: cases.Case) -> VideoBatch:
    frames, masks = cases.make_batch(case)
    counts = case.objects_per_clip
    planes = torch.zeros(len(counts), case.num_frames, 1, *frames.shape[2:4], dtype=torch.uint8)
    for b, clip in enumerate(masks):
        for n, mask in enumerate(clip):
            planes[b, :, 0] |= mask.to(torch.uint8) << n
    return VideoBatch(
        frames=frames,
        mask_planes=planes,
        labeled=torch.ones(case.num_frames, sum(counts), dtype=torch.bool),
        object_clip=torch.tensor([b for b, count in enumerate(counts) for _ in range(count)]),
        object_bit=torch.tensor([n for count in counts for n in range(count)]),
        object_ids=torch.arange(sum(counts)),
        info=BatchInfo(sources=("generated",) * len(counts), loss_weight=sum(counts)),
        batch_size=[],
    )


def run_case(case: cases.Case, folder: Path, recorded: list[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, object]:
    """One step. Correction clicks are stock's: a rounding error in a mask's edge may move the pixel that is picked."""
    replayed = iter(recorded)
    clicks = []

    def click(truth: torch.Tensor, predicted: torch.Tensor | None, *_: torch.Tensor) -> Points:
        own = cases.pick_click(truth, predicted)
        if predicted is None:
            return Points(*own)
        clicks.append(own)
        return Points(*next(replayed))

    prompts.sample_click = click
    prompts.sample_box = lambda truth, *_: Points(*cases.pick_box(truth))
    data = ["dataset.img_folder=frames", "dataset.gt_folder=masks"]
    config = load_config(str(folder / f"{case.name}.yaml"), data, VosConfig).config  # stock's recipe, converted
    model = build_network(config.model, config.prompts, config.transforms)
    load_weights(model, str(folder / case.weights))
    cases.silence_dropout(model)
    cases.set_presence(model, case)
    step = ClipStep(model, config.loss).train()
    batch = make_batch(case)
    losses = step(batch, float(batch.num_objects), StocksChoices(case))
    losses["total"].backward()
    return {**cases.summary(losses, model), "clicks": clicks}


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    stock = torch.load(folder / "stock.pt", weights_only=True)
    results = {}
    for precision in ("float32", "float64"):
        if precision == "float64":
            cases.double_precision()
        clicks = {name: case["clicks"] for name, case in stock[precision].items()}
        results[precision] = {case.name: run_case(case, folder, clicks[case.name]) for case in cases.CASES}
    torch.save(results, folder / "ours.pt")


main()
