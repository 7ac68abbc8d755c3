"""SAM 2 for training: simulates a user's prompts and unrolls the network over a clip, as at inference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sam2_training.vos.batch import ClipFacts, FrameOutput, PredictionStep, TrackedClips, VideoBatch
from sam2_training.vos.clips.config import TransformsConfig
from sam2_training.vos.model.prompt_parts import objects_by_plan
from sam2_training.vos.model.prompts import FramePrompter, PromptPlan, draw_positions
from sam2_training.vos.model.prompts_config import PromptsConfig
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

    def forward(self, batch: VideoBatch, prompt_rng: np.random.Generator) -> list[TrackedClips]:
        """Predictions for every frame of the batch's clips.

        prompt_rng: decides which frames are prompted and how, for all clips alike. Objects that are prompted otherwise
        (`objects_by_plan`) are tracked apart from the rest: what a clip goes through does not depend on the clips
        beside it. Only dropout comes from torch's global generator.
        """
        facts = batch.clip_facts()
        parts = objects_by_plan(self.prompts, facts, batch.num_frames, prompt_rng)
        features = self._encode(batch)
        if len(parts) == 1:
            return [TrackedClips(batch, self._unroll(batch, features, parts[0][0], _positions(facts, parts[0][0])))]
        tracked = []
        for plan, objects in parts:
            part, clips = batch.of_objects(objects), batch.clips_of(objects)
            own_features = features
            if len(clips) < len(facts):
                images = torch.tensor([n * batch.num_frames + t for n in clips for t in range(batch.num_frames)])
                own_features = features.select(images.to(batch.frames.device))
            positions = _positions(facts, plan)
            own_positions = None if positions is None else positions[:, :, objects]
            tracked.append(TrackedClips(part, self._unroll(part, own_features, plan, own_positions)))
        return tracked

    def track(self, batch: VideoBatch, plan: PromptPlan) -> list[FrameOutput]:
        """Predictions for every frame under a plan that is possible in every clip, in time order."""
        return self._unroll(batch, self._encode(batch), plan, _positions(batch.clip_facts(), plan))

    def _encode(self, batch: VideoBatch) -> ImageFeatures:
        return self.encode_images(batch.normalized_frames(self.pixel_mean, self.pixel_std))

    def _unroll(
        self, batch: VideoBatch, features: ImageFeatures, plan: PromptPlan, positions: Tensor | None
    ) -> list[FrameOutput]:
        """positions: as `draw_positions` gives them, of the batch's objects; None without clicks and boxes."""
        memory = MemoryBank()
        positions = None if positions is None else positions.to(batch.labeled.device)
        outputs: dict[int, FrameOutput] = {}
        for t in plan.processing_order:
            prompter = None
            if positions is not None and (t in plan.conditioning_frames or t in plan.corrected_frames):
                prompter = FramePrompter(batch.masks(t), batch.labeled[t], positions[t], batch.ignored(t))
            outputs[t] = self._track_frame(t, _features_of_frame(features, batch, t), batch, plan, memory, prompter)
        return [outputs[t] for t in range(batch.num_frames)]

    def _track_frame(
        self,
        t: int,
        features: ImageFeatures,
        batch: VideoBatch,
        plan: PromptPlan,
        memory: MemoryBank,
        prompter: FramePrompter | None,
    ) -> FrameOutput:
        """prompter: None if the frame gets no click and no box."""
        is_conditioning = t in plan.conditioning_frames
        is_corrected = t in plan.corrected_frames
        points, masks = None, None
        if is_conditioning and prompter is not None:
            points = prompter.first(plan, t in plan.box_frames, self.prompts)
        elif is_conditioning:
            masks = batch.masks(t)
        prediction, step, decoder_input = self.decode_first(
            t, is_conditioning, features, batch.num_objects, points, masks, memory, plan.num_frames
        )
        steps = [step]
        if is_corrected and prompter is not None:
            points, prediction, more_steps = self._correct(t, prompter, plan, points, prediction, decoder_input)
            steps += more_steps
        if t != plan.processing_order[-1]:  # no later frame uses the memory of the last one
            entry = self.encode_memory(features, prediction, has_points=points is not None)
            as_conditioning = is_conditioning or (is_corrected and self.prompts.add_all_frames_to_correct_as_cond)
            (memory.conditioning if as_conditioning else memory.tracked)[t] = entry
        return FrameOutput(t, steps, prediction.full_size)

    def _correct(
        self,
        t: int,
        prompter: FramePrompter,
        plan: PromptPlan,
        points: Points | None,
        prediction: MaskPrediction,
        decoder_input: DecoderInput,
    ) -> tuple[Points | None, MaskPrediction, list[PredictionStep]]:
        """Corrects a frame click by click: (all points, the last prediction, the step after each click)."""
        steps = []
        for number, from_ground_truth in enumerate((plan.clicks_from_ground_truth or {}).get(t, ())):
            click = prompter.click(
                plan.num_first + number, None if from_ground_truth else prediction.full_size[:, 0] > 0
            )
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


def _positions(clips: Sequence[ClipFacts], plan: PromptPlan) -> Tensor | None:
    return draw_positions(clips, plan) if plan.use_points else None


def _features_of_frame(features: ImageFeatures, batch: VideoBatch, t: int) -> ImageFeatures:
    """Features of frame t: one image when the batch is one clip (all objects share it), else one per object."""
    if batch.frames.shape[0] == 1:
        return features.select(slice(t, t + 1))
    return features.select(batch.object_clip * batch.num_frames + t)
