"""What both sides of the parity test compute: batches, prompts and settings. Imports neither stock's code nor ours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

RESOLUTION = 128
NUM_CLICKS = 7
WEIGHTS = {"loss_mask": 20, "loss_dice": 1, "loss_iou": 1, "loss_class": 1}


@dataclass(frozen=True)
class Case:
    """One step: a prompt type, a clip length, and the objects of each clip of the batch."""

    prompt: str
    num_frames: int
    objects_per_clip: tuple[int, ...]
    seed: int = 0
    """Of the generator that decides the prompts' structure; stock's own is 42."""
    presence: float = 1.0
    """Bias of the presence score: the untrained network takes nearly all objects for present, or below 0 for absent."""
    object_scores: bool = True
    """Whether the network predicts presence at all; SAM 2.1's networks do."""

    @property
    def name(self) -> str:
        scores = "" if self.object_scores else "-no-scores"
        return f"{self.prompt}-T{self.num_frames}-{'+'.join(map(str, self.objects_per_clip))}objects{scores}"

    @property
    def weights(self) -> str:
        """Name of the file with its weights."""
        return "weights.pt" if self.object_scores else "weights_no_scores.pt"

    @property
    def settings(self) -> dict[str, float | int | bool]:
        """Published values, except for the probabilities that would leave the kind of prompt to chance."""
        return {
            "prob_to_use_pt_input": 0.0 if self.prompt == "mask" else 1.0,
            "prob_to_use_box_input": 1.0 if self.prompt == "box" else 0.0,
            "num_init_cond_frames": 2,
            "rand_init_cond_frames": True,
            "num_frames_to_correct": 2,
            "rand_frames_to_correct": True,
            "num_correction_pt_per_frame": NUM_CLICKS,
            "prob_to_sample_from_gt": 0.1,
            "add_all_frames_to_correct_as_cond": True,
        }


# Seeds are chosen for their structure: conditioning frames | frames corrected.
CASES = (
    Case("mask", 1, (2,)),  # 0
    Case("mask", 2, (2, 1), seed=2),  # 0
    Case("mask", 4, (3,), seed=4),  # 0, 2
    Case("mask", 4, (2,), seed=9, presence=-1.0),  # 0, 1: tracked objects are all taken for absent
    Case("click", 1, (2, 1), seed=1),  # 0 | 0
    Case("click", 2, (2,), seed=5),  # 0 | 0, 1: frame 1 is tracked first, then corrected
    Case("click", 4, (2, 1), seed=5),  # 0 | 0, 2
    Case("box", 1, (1,), seed=1),  # 0 | 0
    Case("box", 2, (1, 2), seed=0),  # 0, 1 | 0, 1
    Case("box", 4, (2,), seed=4),  # 0, 2 | 0, 2
    Case("mask", 4, (3,), seed=4, object_scores=False),  # 0, 2: the last object leaves
    Case("click", 2, (2, 1), seed=5, object_scores=False),  # 0 | 0, 1
)


def make_batch(case: Case) -> tuple[torch.Tensor, list[list[torch.Tensor]]]:
    """(frames uint8 [B, T, S, S, 3], masks[b][n] bool [T, S, S]): moving rectangles on noise.

    With mask prompts and four frames, the last object has left in the last frame.
    """
    generator = torch.Generator().manual_seed(case.num_frames + 10 * case.seed)
    num_clips, side = len(case.objects_per_clip), RESOLUTION
    frames = torch.randint(0, 256, (num_clips, case.num_frames, side, side, 3), dtype=torch.uint8, generator=generator)
    masks = []
    for b, count in enumerate(case.objects_per_clip):
        clip_masks = []
        for n in range(count):
            mask = torch.zeros(case.num_frames, side, side, dtype=torch.bool)
            for t in range(case.num_frames):
                top, left = 9 + 17 * n + 6 * t + 5 * b, 13 + 23 * n + 4 * t
                mask[t, top : top + 38 - 6 * n, left : left + 31 + 4 * n] = True
            clip_masks.append(mask)
        masks.append(clip_masks)
    if case.prompt == "mask" and case.num_frames == 4:
        masks[-1][-1][3] = False
    return frames, masks


def pick_click(truth: torch.Tensor, predicted: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """(coords [O, 1, 2] x y, labels [O, 1]): the middle pixel, in reading order, of where the prediction is wrong.

    truth, predicted: bool [O, H, W]. The same on both sides, in place of random clicks.
    """
    predicted = torch.zeros_like(truth) if predicted is None else predicted
    coords, labels = [], []
    for one_truth, one_predicted in zip(truth, predicted, strict=True):
        wrong = one_truth ^ one_predicted
        region = wrong if wrong.any() else ~one_truth
        pixels = region.flatten().nonzero()[:, 0]
        pixel = int(pixels[len(pixels) // 2])
        row, column = divmod(pixel, truth.shape[-1])
        coords.append([column, row])
        labels.append(int(one_truth[row, column]))
    return torch.tensor(coords).to(torch.float32)[:, None], torch.tensor(labels, dtype=torch.int32)[:, None]


def pick_box(truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(corners [O, 2, 2] x y, labels [O, 2]): each object's box, without noise. truth: bool [O, H, W]."""
    corners = []
    for one in truth:
        rows, columns = one.any(1).nonzero()[:, 0], one.any(0).nonzero()[:, 0]
        corners.append([[int(columns[0]), int(rows[0])], [int(columns[-1]), int(rows[-1])]])
    return torch.tensor(corners).to(torch.float32), torch.tensor([[2, 3]], dtype=torch.int32).repeat(len(truth), 1)


def structure_rng(case: Case) -> np.random.Generator:
    return np.random.default_rng(case.seed)


def double_precision() -> None:
    """Makes this whole process compute in float64: code that asks for float32 gets float64 as well."""
    torch.set_default_dtype(torch.float64)
    torch.float32 = torch.float = torch.float64  # type: ignore[misc]
    torch.complex64 = torch.complex128  # type: ignore[misc]
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]


def silence_dropout(model: torch.nn.Module) -> None:
    """Takes every random drop out of a network; training mode stays on."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name in ("dropout_p", "drop_prob"):
            if hasattr(module, name):
                setattr(module, name, 0.0)


def set_presence(model: torch.nn.Module, case: Case) -> None:
    if not case.object_scores:
        return
    with torch.no_grad():
        model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(case.presence)


def summary(losses: dict[str, torch.Tensor], model: torch.nn.Module) -> dict[str, object]:
    """Losses, and the norm of the gradient for each parameter and for each top-level part, as plain numbers."""
    parameters = {
        name: 0.0 if parameter.grad is None else float(parameter.grad.double().norm())
        for name, parameter in model.named_parameters()
    }
    squares: dict[str, float] = {}
    for name, norm in parameters.items():
        part = name.split(".")[0]
        squares[part] = squares.get(part, 0.0) + norm**2
    return {
        "losses": {name: float(value.detach()) for name, value in losses.items()},
        "parts": {part: square**0.5 for part, square in squares.items()},
        "parameters": parameters,
    }
