"""Two gloo ranks: gradients of ClipStep under DDP beside those of one process with both clips.

Usage: two_rank_step.py <folder>. Rank 0 writes {case: {what: number}} to <folder>/result.json.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[2] / "training"), str(HERE.parents[2])]

import torch  # noqa: E402
from sam2_training.engine.task import StepContext  # noqa: E402
from sam2_training.vos.batch import VideoBatch  # noqa: E402
from sam2_training.vos.loss_config import LossConfig  # noqa: E402
from sam2_training.vos.model import prompts  # noqa: E402
from sam2_training.vos.model.build import build_network  # noqa: E402
from sam2_training.vos.model.config import ModelConfig  # noqa: E402
from sam2_training.vos.model.prompts_config import PromptsConfig  # noqa: E402
from sam2_training.vos.model.step import ClipStep  # noqa: E402
from sam2_training.vos.sam2.points import Points  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402

from tests.vos.moving_clips import make_batch  # noqa: E402

OBJECTS = (2, 1)
"""Of each rank's clip."""
WAIT = timedelta(seconds=60)
CASES = {"one frame": (1, 1.0), "masks": (3, 0.0), "clicks": (3, 1.0), "nothing on rank 1": (2, 0.0)}
"""Name -> frames, probability of point prompts; run in this order with one DDP module."""


def first_pixel(
    truth: Tensor, predicted: Tensor | None, labeled: Tensor, position: Tensor, ignored: Tensor | None
) -> Points:
    """A click without randomness, which cannot agree between one process and two."""
    pixel = truth.flatten(1).to(torch.uint8).argmax(1)
    coords = torch.stack([pixel % truth.shape[2], pixel // truth.shape[2]], -1).float()
    return Points(coords[:, None], torch.where(labeled, 1, -1).int()[:, None])


def gradients(module: nn.Module, step: ClipStep, batch: VideoBatch, normalizer: float) -> dict[str, Tensor]:
    module.zero_grad()
    module(batch, normalizer, StepContext(4, 0))["total"].backward()
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in step.model.named_parameters()
    }


def build_step() -> ClipStep:
    torch.manual_seed(0)
    settings = PromptsConfig(prob_to_use_box_input=0.0, num_correction_pt_per_frame=1, prob_to_sample_from_gt=1.0)
    config = ModelConfig(name="architecture/tiny.yaml", image_size=64, attention_dropout=0.0)
    step = ClipStep(build_network(config, settings), LossConfig()).train()
    for module in step.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return step


def main(rank: int, folder: Path) -> None:
    prompts.sample_click = first_pixel
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2, timeout=WAIT)
    step, single = build_step(), build_step()
    parallel = DistributedDataParallel(step, find_unused_parameters=True)
    result = {}
    for name, (num_frames, prob_to_use_points) in CASES.items():
        for one in (step, single):
            one.model.prompts = replace(one.model.prompts, prob_to_use_pt_input=prob_to_use_points)
        nothing = [(t, 2) for t in range(num_frames)] if name == "nothing on rank 1" else []
        both = make_batch(num_frames, OBJECTS, unlabeled=nothing)
        total = sum(OBJECTS)
        together = gradients(parallel, step, both.part([rank]), total / 2)
        alone = gradients(single, single, both, float(total))
        size = torch.stack([gradient.norm() for gradient in alone.values()]).norm()
        error = torch.stack([(together[key] - gradient).norm() for key, gradient in alone.items()]).norm()
        attended = sum(float(g.norm()) for key, g in together.items() if key.startswith("memory_attention"))
        result[name] = {"error": float(error / size), "size": float(size), "memory_attention": attended}
    if rank == 0:
        (folder / "result.json").write_text(json.dumps(result))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    other = os.fork()  # what was imported is shared: half the time of two programs
    main(1 if other == 0 else 0, Path(sys.argv[1]))
    if other:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]))
