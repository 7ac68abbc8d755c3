"""Checks an exported file against stock sam2: stock loads it, tracks a clip, and every mask must equal ours.

Runs on the CPU, where equal operations give equal bits. Our faster replacements of stock's layers, which differ in
rounding, are switched off for the comparison: everything else must agree exactly.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from sam2.build_sam import build_sam2_video_predictor

from sam2_training.core.errors import CheckpointError
from sam2_training.data.config import SyntheticConfig
from sam2_training.data.formats.frame_folder import FrameFolder
from sam2_training.data.formats.synthetic import synthetic_video
from sam2_training.data.index import build_index
from sam2_training.vos.evaluation.clips import EvaluationClip
from sam2_training.vos.evaluation.prompt_spec import PromptSpec
from sam2_training.vos.evaluation.prompts import Prompt, prompt_from_ground_truth
from sam2_training.vos.evaluation.tracker import VideoTracker
from sam2_training.vos.model.config import ModelConfig
from sam2_training.vos.model.names import Network, register_aliases
from sam2_training.vos.model.tracker import TrainableSAM2
from sam2_training.vos.model.weights import SAFETENSORS_SUFFIX, read_weights

CLIP = SyntheticConfig(num_videos=1, num_frames=3, size=128, num_objects=2)
"""What both track: a given frame, one that follows it, and one that follows a tracked one."""
CLIP_SEED = 20
CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Tracked:
    """Masks and presence of the clip's objects."""

    masks: npt.NDArray[np.bool_]
    """[T, N, H, W]"""
    presence: npt.NDArray[np.float32]
    """Logits, [T, N]."""

    def mean_iou(self, other: Tracked) -> float:
        """Mean intersection over union of all masks; 1 where both are empty."""
        both = (self.masks & other.masks).sum((2, 3))
        either = (self.masks | other.masks).sum((2, 3))
        return float(np.where(either > 0, both / np.maximum(either, 1), 1.0).mean())


@dataclass(frozen=True, eq=False)
class ComparisonClip:
    """A generated video, on disk as stock reads it, and its prompts: a mask for object 1, a box for object 2."""

    folder: Path
    frames: EvaluationClip
    prompts: list[Prompt]


@contextmanager
def comparison_clip() -> Iterator[ComparisonClip]:
    """The clip, in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="export-") as name:
        folder = Path(name)
        frames, masks = synthetic_video(CLIP_SEED, 0, CLIP)
        for t, frame in enumerate(frames):
            Image.fromarray(frame).save(folder / f"{t:05d}.jpg", quality=95)
        specs = (PromptSpec("mask"), PromptSpec("box"))
        prompts = [prompt_from_ground_truth(spec, n + 1, 0, masks[0, n]) for n, spec in enumerate(specs)]
        yield ComparisonClip(folder, EvaluationClip(build_index(FrameFolder(folder, "stored")), 0), prompts)


def track_with_ours(model: TrainableSAM2, clip: ComparisonClip) -> Tracked:
    """What our network makes of the clip, objects tracked one by one. model: on the CPU."""
    found = list(VideoTracker(model, CPU, batch_objects=False).track(clip.frames, clip.prompts))
    return Tracked(np.stack([one.masks for one in found]), np.stack([one.presence for one in found]))


def track_with_stock(path: Path, network: Network, config: ModelConfig, clip: ComparisonClip) -> Tracked:
    """What stock sam2, built by its own function and strictly loaded from the file, makes of the clip.

    config: gives what of the architecture is replaced. Raises CheckpointError if stock does not take the file.
    """
    predictor = _stock_predictor(path, network, config)
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):  # stock's progress bars
        warnings.simplefilter("ignore")  # without sam2's CUDA extension holes stay unfilled, here and there alike
        state = predictor.init_state(str(clip.folder), offload_video_to_cpu=True)
        for prompt in clip.prompts:
            _give(predictor, state, prompt)
        masks = [(logits[:, 0] > 0).numpy() for _, _, logits in predictor.propagate_in_video(state)]
    presence = [
        [_kept(state, n, t)["object_score_logits"].item() for n in range(len(clip.prompts))]
        for t in range(CLIP.num_frames)
    ]
    return Tracked(np.stack(masks), np.array(presence, np.float32))


def _stock_predictor(path: Path, network: Network, config: ModelConfig) -> Any:
    if not GlobalHydra.instance().is_initialized():
        initialize_config_module("sam2", version_base="1.2")
    if network.checkpoint_name is None:
        register_aliases(str(network.yaml_path))
    is_safetensors = path.suffix == SAFETENSORS_SUFFIX
    replaced = {"image_size": config.image_size, **config.replaced_arguments()}
    try:
        predictor = build_sam2_video_predictor(
            network.config_name,
            None if is_safetensors else str(path),
            device="cpu",
            hydra_overrides_extra=[f"++model.{name}={value}" for name, value in replaced.items()],
        )
        if is_safetensors:
            predictor.load_state_dict(read_weights(str(path)), strict=True)
    except (RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else "names that it does not expect or misses"
        raise CheckpointError(f"stock sam2 does not load the exported file: {reason}") from error
    return predictor


def _give(predictor: Any, state: Any, prompt: Prompt) -> None:
    """The prompt in stock's own calls."""
    if prompt.mask is not None:
        predictor.add_new_mask(state, prompt.frame_index, prompt.object_id, torch.from_numpy(prompt.mask))
        return
    box = np.array(prompt.box, np.float32)
    predictor.add_new_points_or_box(state, prompt.frame_index, prompt.object_id, box=box)


def _kept(state: Any, object_number: int, frame_index: int) -> Any:
    """What stock keeps of an object on a frame."""
    kept = state["output_dict_per_obj"][object_number]
    conditioned = kept["cond_frame_outputs"].get(frame_index)
    return conditioned if conditioned is not None else kept["non_cond_frame_outputs"][frame_index]
