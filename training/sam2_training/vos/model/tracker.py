"""SAM 2 for training: simulates a user's prompts and unrolls the network over a clip, as at inference."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sam2_training.vos.batch import FrameOutput, PredictionStep, VideoBatch
from sam2_training.vos.config import PromptsConfig, TransformsConfig
from sam2_training.vos.model.prompts import Points, PromptPlan, plan_prompts, sample_box, sample_click
from sam2_training.vos.sam2.adapter import Decoded, DecoderInput, ImageFeatures, MemoryBank, Sam2Border


class TrainableSAM2(Sam2Border):
    """A SAM 2.1 network whose forward pass is a training clip. Build it with `build_network`.

    Parameters have stock's names and shapes. Parts without a trainable parameter stay in eval mode whatever `train`
    is called with, so that nothing is dropped at random inside a frozen part.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, prompts: PromptsConfig, transforms: TransformsConfig, parts: dict[str, Any]) -> None:
        super().__init__(parts)
        self.prompts = prompts
        # Not persistent: a checkpoint holds exactly the parameters that stock code expects.
        self.register_buffer("pixel_mean", torch.tensor(transforms.mean), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(transforms.std), persistent=False)

    def forward(self, batch: VideoBatch, prompt_rng: np.random.Generator) -> list[FrameOutput]:
        """Predictions for every frame of the batch's clips, in time order.

        prompt_rng: decides what is prompted; equal on all ranks. Clicks, box noise and dropout come from torch's
        global generator.
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
        truth = batch.masks(t) if is_conditioning or is_corrected else None
        points, masks = None, None
        if truth is not None and is_conditioning:
            points, masks = self._first_prompt(t, truth, batch.labeled[t], plan)
        answer, decoder_input = self.first_answer(
            t, is_conditioning, features, batch.num_objects, points, masks, memory, plan.num_frames
        )
        answers = [answer]
        if truth is not None and is_corrected:
            points = self._correct(t, truth, batch.labeled[t], plan, points, answers, decoder_input)
        as_conditioning = is_conditioning or (is_corrected and self.prompts.add_all_frames_to_correct_as_cond)
        if t != plan.processing_order[-1]:  # nobody looks back at the last one
            self.remember(memory, t, as_conditioning, features, answers[-1], has_points=points is not None)
        return FrameOutput(t, [_prediction(one) for one in answers], answers[-1].high_res)

    def _first_prompt(
        self, t: int, truth: Tensor, labeled: Tensor, plan: PromptPlan
    ) -> tuple[Points | None, Tensor | None]:
        """(points, masks) of a conditioning frame; one of them is None."""
        if not plan.use_points:
            return None, truth
        if t in plan.box_frames:
            return sample_box(truth, labeled, self.prompts.box_noise, self.prompts.box_noise_bound_px), None
        return sample_click(truth, None, labeled), None

    def _correct(
        self,
        t: int,
        truth: Tensor,
        labeled: Tensor,
        plan: PromptPlan,
        points: Points | None,
        answers: list[Decoded],
        decoder_input: DecoderInput,
    ) -> Points | None:
        """All points on the frame after its corrections; appends the answer to each click to `answers`."""
        for from_truth in (plan.clicks_from_truth or {}).get(t, ()):
            predicted = None if from_truth else answers[-1].high_res[:, 0] > 0
            click = sample_click(truth, predicted, labeled)
            points = click if points is None else points.with_more(click)
            is_conditioning = t in plan.conditioning_frames
            answers.append(self.next_answer(decoder_input, is_conditioning, points, answers[-1].low_res))
        return points

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


def _prediction(answer: Decoded) -> PredictionStep:
    return PredictionStep(
        low_res_masks=answer.candidates,
        ious=answer.ious,
        object_score_logits=answer.object_score_logits,
        high_res_masks=answer.high_res_candidates,
    )
