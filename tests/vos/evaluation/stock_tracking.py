"""Stock sam2's video predictor beside a network of ours with equal weights, and clips for both."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sam2.build_sam import build_sam2_video_predictor
from sam2.modeling.sam2_base import SAM2Base
from sam2_training.data.images import read_image, read_mask
from sam2_training.vos.evaluation.prompts import Prompt
from sam2_training.vos.model.build import build_network, read_architecture
from sam2_training.vos.model.config import ModelConfig
from sam2_training.vos.model.names import resolve_network
from sam2_training.vos.model.tracker import TrainableSAM2

TINY = "architecture/tiny.yaml"
PUBLISHED = "sam2.1_hiera_t"
DEFAULTS = {
    "sam_mask_decoder_extra_args.dynamic_multimask_via_stability": True,
    "sam_mask_decoder_extra_args.dynamic_multimask_stability_delta": 0.05,
    "sam_mask_decoder_extra_args.dynamic_multimask_stability_thresh": 0.98,
    "binarize_mask_from_pts_for_mem_enc": True,
    "fill_hole_area": 8,
}
"""What build_sam2_video_predictor adds to an architecture's YAML; for networks that it cannot find itself."""


@dataclass
class FilesClip:
    """The first frames of one of the real videos."""

    folder: Path
    """With JPEGImages and Annotations inside."""
    name: str
    num_frames: int

    def image_path(self, frame_index: int) -> Path:
        return self.folder / "JPEGImages" / self.name / f"{frame_index:05d}.jpg"

    def read_frame(self, frame_index: int) -> np.ndarray:
        return read_image(str(self.image_path(frame_index)))

    def mask(self, object_id: int, frame_index: int = 0) -> np.ndarray:
        ids = read_mask(str(self.folder / "Annotations" / self.name / f"{frame_index:05d}.png"))
        return np.asarray(ids == object_id)

    def linked(self, folder: Path) -> str:
        """A folder with just these frames, for stock."""
        folder.mkdir()
        for t in range(self.num_frames):
            (folder / f"{t:05d}.jpg").symlink_to(self.image_path(t))
        return str(folder)


def vivid_network(name: str, resolution: int) -> TrainableSAM2:
    """Random weights under which objects are present, and what is remembered of a mask changes later masks."""
    torch.manual_seed(0)
    network = build_network(ModelConfig(name=name, image_size=resolution))
    with torch.no_grad():
        for key, weights in network.named_parameters():
            if key.endswith("gamma"):
                weights.fill_(0.5)  # 1e-6 as built: blocks of the memory encoder that do nothing
            if "cross_attn_image" in key and key.endswith("weight"):
                weights.mul_(4.0 if "q_proj" in key or "k_proj" in key else 2.0)
            if key.endswith("mask_downsampler.encoder.12.weight"):
                weights.mul_(10.0)
        network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(2.0)
    return network


def without_shortcuts(network: TrainableSAM2) -> TrainableSAM2:
    """The network with stock's own encoder and decoder call: nothing is left that rounds differently for one object."""
    network.use_stock_image_encoder()
    network._forward_sam_heads = partial(SAM2Base._forward_sam_heads, network)
    return network


def stock_predictor(network: TrainableSAM2, name: str, **changes: Any) -> Any:
    """Stock's video predictor with the network's weights and its own defaults, but for `changes`."""
    resolution = int(network.image_size)
    if name == PUBLISHED:
        if not GlobalHydra.instance().is_initialized():
            initialize_config_module("sam2", version_base="1.2")
        size = [f"++model.image_size={resolution}"]
        predictor = build_sam2_video_predictor(
            "configs/sam2.1/sam2.1_hiera_t.yaml", device="cpu", hydra_overrides_extra=size
        )
    else:
        architecture = read_architecture(resolve_network(name))
        for key, value in {**DEFAULTS, "image_size": resolution}.items():
            OmegaConf.update(architecture, key, value, force_add=True)
        architecture._target_ = "sam2.sam2_video_predictor.SAM2VideoPredictor"
        predictor = instantiate(architecture, _recursive_=True).eval()
    predictor.load_state_dict(network.state_dict())
    for key, value in changes.items():
        assert hasattr(predictor, key)
        setattr(predictor, key, value)
    return predictor


def give(predictor: Any, state: Any, prompt: Prompt) -> None:
    """The prompt in stock's own calls; clicks all at once."""
    if prompt.mask is not None:
        predictor.add_new_mask(state, prompt.frame_index, prompt.object_id, torch.from_numpy(prompt.mask))
        return
    points = np.array([(click.x, click.y) for click in prompt.clicks], np.float32).reshape(-1, 2)
    labels = np.array([int(click.positive) for click in prompt.clicks], np.int32)
    box = None if prompt.box is None else np.array(prompt.box, np.float32)
    predictor.add_new_points_or_box(state, prompt.frame_index, prompt.object_id, points=points, labels=labels, box=box)


def stock_pass(predictor: Any, state: Any) -> dict[int, np.ndarray]:
    """Masks [N, H, W] by frame, of one propagation from the first prompt."""
    return {t: (masks[:, 0] > 0).numpy() for t, _, masks in predictor.propagate_in_video(state)}


def stock_output(state: Any, object_number: int, frame_index: int) -> dict[str, torch.Tensor]:
    """What stock keeps of an object on a frame: "pred_masks" [1, 1, S/4, S/4], "object_score_logits" [1, 1], ..."""
    kept = state["output_dict_per_obj"][object_number]
    found = kept["cond_frame_outputs"].get(frame_index)
    return found if found is not None else kept["non_cond_frame_outputs"][frame_index]
