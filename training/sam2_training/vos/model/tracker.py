"""SAM 2 for training: simulates a user's prompts and unrolls the network over a clip, as at inference."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from sam2_training.vos.batch import FrameOutput, PredictionStep, VideoBatch
from sam2_training.vos.config import PromptsConfig, TransformsConfig
from sam2_training.vos.model.prompts import PromptPlan, plan_prompts, sample_box, sample_click
from sam2_training.vos.sam2.adapter import DecoderInput, ImageFeatures, MaskPrediction, MemoryBank, SAM2Adapter
from sam2_training.vos.sam2.points import Points


class TrainableSAM2(SAM2Adapter):
    """A SAM 2.1 network whose forward pass is a training clip. Build it with `build_network`.

    Parameters have stock's names and shapes. Parts without a trainable parameter stay in eval mode whatever `train`
    is called with, so that nothing is dropped at random inside a frozen part.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, prompts: PromptsConfig, transforms: TransformsConfig, parts: dict[str, object]) -> None:
        super().__init__(parts)
        self.prompts = prompts
        # Not persistent: a checkpoint holds exactly the parameters that stock code expects.
        self.register_buffer("pixel_mean", torch.tensor(transforms.mean), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(transforms.std), persistent=False)

    def forward(self, batch: VideoBatch, prompt_rng: np.random.Generator) -> list[FrameOutput]:
        """Predictions for every frame of the batch's clips, in time order.

        prompt_rng: decides which frames are prompted and how; equal on all ranks. Clicks, box noise and dropout come
        from torch's global generator.
        """
        plan = plan_prompts(self.prompts, batch.num_frames, prompt_rng)
        return self.track(batch, plan.restricted(*batch.frame_facts()))

    def track(self, batch: VideoBatch, plan: PromptPlan) -> list[FrameOutput]:
        """Predictions for every frame under a given plan, in time order."""
        features = self.encode_images(batch.normalized_frames(self.pixel_mean, self.pixel_std))
        memory = MemoryBank()
        outputs: dict[int, FrameOutput] = {}
        for t in plan.processing_order:
            outputs[t] = self._track_frame(t, _features_of_frame(features, batch, t), batch, plan, memory)
        return [outputs[t] for t in range(batch.num_frames)]

    def _track_frame(
        self, t: int, features: ImageFeatures, batch: VideoBatch, plan: PromptPlan, memory: MemoryBank
    ) -> FrameOutput:
        is_conditioning = t in plan.conditioning_frames
        is_corrected = t in plan.corrected_frames
        ground_truth = batch.masks(t) if is_conditioning or is_corrected else None
        points, masks = None, None
        if ground_truth is not None and is_conditioning:
            points, masks = self._first_prompt(t, ground_truth, batch.labeled[t], plan)
        prediction, step, decoder_input = self.decode_first(
            t, is_conditioning, features, batch.num_objects, points, masks, memory, plan.num_frames
        )
        steps = [step]
        if ground_truth is not None and is_corrected:
            labeled = batch.labeled[t]
            points, prediction, more_steps = self._correct(
                t, ground_truth, labeled, plan, points, prediction, decoder_input
            )
            steps += more_steps
        if t != plan.processing_order[-1]:  # no later frame uses the memory of the last one
            entry = self.encode_memory(features, prediction, has_points=points is not None)
            as_conditioning = is_conditioning or (is_corrected and self.prompts.add_all_frames_to_correct_as_cond)
            (memory.conditioning if as_conditioning else memory.tracked)[t] = entry
        return FrameOutput(t, steps, prediction.full_size)

    def _first_prompt(
        self, t: int, ground_truth: Tensor, labeled: Tensor, plan: PromptPlan
    ) -> tuple[Points | None, Tensor | None]:
        """(points, masks) of a conditioning frame; one of them is None."""
        if not plan.use_points:
            return None, ground_truth
        if t in plan.box_frames:
            return sample_box(ground_truth, labeled, self.prompts.box_noise, self.prompts.box_noise_bound_px), None
        return sample_click(ground_truth, None, labeled), None

    def _correct(
        self,
        t: int,
        ground_truth: Tensor,
        labeled: Tensor,
        plan: PromptPlan,
        points: Points | None,
        prediction: MaskPrediction,
        decoder_input: DecoderInput,
    ) -> tuple[Points | None, MaskPrediction, list[PredictionStep]]:
        """Corrects a frame click by click: (all points, the last prediction, the step after each click)."""
        steps = []
        for from_ground_truth in (plan.clicks_from_ground_truth or {}).get(t, ()):
            predicted = None if from_ground_truth else prediction.full_size[:, 0] > 0
            click = sample_click(ground_truth, predicted, labeled)
            points = click if points is None else points.with_more(click)
            prediction, step = self.decode_next(decoder_input, t in plan.conditioning_frames, points, prediction)
            steps.append(step)
        return points, prediction, steps

    def train(self, mode: bool = True) -> TrainableSAM2:
        """Sets training mode (or eval mode), except in parts that are entirely frozen: those stay in eval mode."""
        super().train(mode)
        if mode:
            for child in self.children():
                _rest_if_frozen(child)
        return self

    def compile_parts(self) -> None:
        """Compiles the image encoder's trunk and memory attention on first use; parameter names do not change."""
        self.image_encoder.trunk.compile()
        self.memory_attention.compile()


def _rest_if_frozen(module: nn.Module) -> None:
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        module.eval()
        return
    for child in module.children():
        _rest_if_frozen(child)


def _features_of_frame(features: ImageFeatures, batch: VideoBatch, t: int) -> ImageFeatures:
    """Features of frame t: one image when the batch is one clip (all objects share it), else one per object."""
    if batch.frames.shape[0] == 1:
        return features.select(slice(t, t + 1))
    return features.select(batch.object_clip * batch.num_frames + t)
