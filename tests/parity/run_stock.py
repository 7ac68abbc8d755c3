"""Computes every case with SAM 2's own training code. Usage: run_stock.py <stock folder> <work folder>.

Run as a process of its own: that code is a package called `training`, as ours is. Writes weights.pt first and
stock.pt at the end into the work folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:] = [
    sys.argv[1],
    str(HERE),
    *(p for p in sys.path if Path(p or ".").resolve() not in (HERE, HERE.parents[1])),
]

import cases  # noqa: E402
import sam2  # noqa: E402
import torch  # noqa: E402
from hydra.utils import instantiate  # noqa: E402
from omegaconf import DictConfig, OmegaConf  # noqa: E402
from training.model import sam2 as stock_model  # noqa: E402
from training.utils.data_utils import BatchedVideoDatapoint, BatchedVideoMetaData  # noqa: E402

RECIPE = Path(sam2.__path__[0]) / "configs" / "sam2.1_training" / "sam2.1_hiera_b+_MOSE_finetune.yaml"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def training_arguments(case: cases.Case) -> DictConfig:
    """SAM2Train's arguments in a case."""
    arguments = published_arguments(case.object_scores)
    settings = case.settings
    for name in ("prob_to_use_pt_input", "prob_to_use_box_input", "prob_to_sample_from_gt", "num_frames_to_correct"):
        arguments[f"{name}_for_train"] = settings[name]
    return arguments


def build_model(case: cases.Case) -> torch.nn.Module:
    """Stock's SAM2Train with the published training arguments and a small trunk."""
    model = instantiate(training_arguments(case))
    model.rng = cases.structure_rng(case)
    if case.prompt == "mask" and case.num_frames == 1:
        model.rng = NeverBelow(model.rng)
    return model.train()


class NeverBelow:
    """A generator whose random() is 1, for one-frame clips: there stock makes clicks certain, whatever is asked."""

    def __init__(self, rng: object) -> None:
        self.rng = rng

    def random(self) -> float:
        return 1.0

    def __getattr__(self, name: str) -> object:
        return getattr(self.rng, name)


def published_arguments(object_scores: bool) -> DictConfig:
    """SAM2Train's arguments in the published recipe, at the resolution of the cases and with a small trunk."""
    recipe = OmegaConf.load(RECIPE)
    recipe.scratch.resolution = cases.RESOLUTION
    arguments = recipe.trainer.model
    encoder = arguments.image_encoder
    encoder.trunk.update(embed_dim=48, num_heads=1, stages=[1, 2, 3, 1], global_att_blocks=[4])
    encoder.neck.backbone_channel_list = [384, 192, 96, 48]
    if not object_scores:
        arguments.update(pred_obj_scores=False, pred_obj_scores_mlp=False, fixed_no_obj_ptr=False)
    extent = cases.RESOLUTION // 16
    for attention in ("self_attention", "cross_attention"):
        arguments.memory_attention.layer[attention].feat_sizes = [extent, extent]
    return arguments


def save_recipe(path: Path, case: cases.Case) -> None:
    """Writes stock's training recipe of a case: ours reads its values."""
    recipe = OmegaConf.load(RECIPE)
    recipe.scratch.resolution = cases.RESOLUTION
    recipe.trainer.model = training_arguments(case)
    recipe.trainer.loss.all.pred_obj_scores = case.object_scores
    OmegaConf.save(recipe, path)


def build_loss(case: cases.Case) -> torch.nn.Module:
    return instantiate(OmegaConf.load(RECIPE).trainer.loss.all, pred_obj_scores=case.object_scores)


def datapoint(case: cases.Case) -> BatchedVideoDatapoint:
    frames, masks = cases.make_batch(case)
    pixels = frames.permute(1, 0, 4, 2, 3).to(torch.get_default_dtype()) / 255  # [T, B, 3, S, S]
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    flat = [mask for clip in masks for mask in clip]
    owner = [b for b, clip in enumerate(masks) for _ in clip]
    index = torch.tensor([[[t, b] for b in owner] for t in range(case.num_frames)], dtype=torch.int)
    empty = torch.zeros(case.num_frames, len(flat), 3, dtype=torch.long)
    return BatchedVideoDatapoint(
        img_batch=(pixels - mean) / std,
        obj_to_frame_idx=index,
        masks=torch.stack(flat, 1),
        metadata=BatchedVideoMetaData(
            unique_objects_identifier=empty, frame_orig_size=empty[..., :2], batch_size=[case.num_frames]
        ),
        dict_key="all",
        batch_size=[case.num_frames],
    )


def run_case(case: cases.Case, weights: dict[str, torch.Tensor]) -> dict[str, object]:
    clicks: list[tuple[torch.Tensor, torch.Tensor]] = []

    def next_point(gt_masks, pred_masks, method):
        point = cases.pick_click(gt_masks[:, 0], None if pred_masks is None else pred_masks[:, 0])
        if pred_masks is not None:
            clicks.append(point)
        return point

    stock_model.get_next_point = next_point
    stock_model.sample_box_points = lambda masks: cases.pick_box(masks[:, 0])
    model = build_model(case)
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    cases.silence_dropout(model)
    cases.set_presence(model, case)
    batch = datapoint(case)
    losses = dict(build_loss(case)(model(batch), batch.masks))
    losses["total"] = losses.pop("core_loss")
    if losses["total"].requires_grad:
        losses["total"].backward()
    return {**cases.summary(losses, model), "clicks": clicks}


def make_weights() -> dict[str, torch.Tensor]:
    """Seeded random weights in which every parameter matters: layer scales and position encodings are not near zero."""
    torch.manual_seed(0)
    model = build_model(cases.CASES[0])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    return model.state_dict()


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[2])
    weights = make_weights()
    for case in cases.CASES:
        names = build_model(case).state_dict()
        save_recipe(folder / f"{case.name}.yaml", case)
        torch.save({"model": {name: weights[name] for name in names}}, folder / case.weights)
    results = {"float32": {case.name: run_case(case, weights) for case in cases.CASES}}
    cases.double_precision()
    weights = {name: tensor.double() for name, tensor in weights.items()}
    results["float64"] = {case.name: run_case(case, weights) for case in cases.CASES}
    torch.save(results, folder / "stock.pt")


main()
