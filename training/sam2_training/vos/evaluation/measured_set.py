"""Measures a network on a set of videos: J&F of whole videos and the loss of fixed clips; keeps details in files."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from sam2_training.core.files import set_aside, write_text
from sam2_training.core.outputs import below
from sam2_training.core.ranks import Ranks
from sam2_training.core.rng import rng_for
from sam2_training.core.shared_work import HeartbeatCallback
from sam2_training.engine.task import ForwardPrecision, SampleKey
from sam2_training.pictures.mask_png import write_masks_png
from sam2_training.vos.batch import VideoBatch
from sam2_training.vos.clips.dataset import ClipDataset
from sam2_training.vos.config import VosConfig
from sam2_training.vos.eval_mode import eval_mode, preserved_rng
from sam2_training.vos.evaluation.clips import EvaluationClip
from sam2_training.vos.evaluation.evaluator import evaluate
from sam2_training.vos.evaluation.prompt_spec import PromptSpec
from sam2_training.vos.evaluation.result import EvaluationResult
from sam2_training.vos.evaluation.tracker import FrameMasks
from sam2_training.vos.losses import tracked_loss
from sam2_training.vos.metrics.names import most_important_first
from sam2_training.vos.model.tracker import TrainableSAM2

NEWEST, BEST, INITIAL = "newest", "best", "initial"
"""Folders of predicted masks below <run>/evaluation/<set>/masks."""
_logger = logging.getLogger(__name__)
LossBatches = Sequence[Callable[[], VideoBatch]]
"""One fixed clip of each validation video, read when it is asked for."""


class MeasuredSet:
    """Measures a network on one set of videos and keeps the details in a folder: step_<n>.json, masks/."""

    def __init__(
        self,
        config: VosConfig,
        ranks: Ranks,
        clips: Sequence[EvaluationClip],
        batches: LossBatches,
        folder: Path,
        fingerprint: str = "",
    ) -> None:
        """fingerprint: of the videos' content."""
        self.fingerprint = fingerprint
        self.config, self.ranks, self.clips, self.batches, self.folder = config, ranks, clips, batches, folder
        self.spec = PromptSpec.parse(config.evaluation.prompt)
        self._warned = False

    def measure(
        self, model: TrainableSAM2, step: int, precision: ForwardPrecision, heartbeat: HeartbeatCallback
    ) -> dict[str, float]:
        """{j_and_f, j, f, iou, dice, presence_accuracy, loss, loss_<term>} as far as they can be computed."""
        masks = self.folder / "masks" / (INITIAL if step == 0 else NEWEST)
        self.ranks.on_main(lambda: shutil.rmtree(masks, ignore_errors=True))
        self.ranks.barrier()  # no rank writes before the old masks are gone
        result = self.evaluate(model, precision, heartbeat, masks if self.config.evaluation.save_masks else None)
        values = most_important_first({**result.numbers(), **self._losses(model, precision, heartbeat)})
        content = {"step": step, "values": values, "result": result.to_json()}
        self.ranks.on_main(lambda: self._try(lambda: self._keep(step, content)))
        return values

    def evaluate(
        self,
        model: TrainableSAM2,
        precision: ForwardPrecision,
        heartbeat: HeartbeatCallback,
        masks: Path | None = None,
        count: int | None = None,
    ) -> EvaluationResult:
        """J&F and the like of all clips, or of the first `count`. masks: a folder for the predicted masks."""

        def on_masks(clip: EvaluationClip, frame: FrameMasks) -> None:
            if masks is not None and len(frame.object_ids):
                name = f"{clip.frame_names[frame.frame_index]}.png"
                self._try(lambda: write_masks_png(below(masks, clip.name, name), frame.masks, frame.object_ids))

        dtype = precision.autocast_dtype
        clips = self.clips[:count]
        protocol = self.config.evaluation.protocol
        return evaluate(
            model,
            clips,
            self.ranks,
            self.spec,
            protocol,
            autocast_dtype=dtype,
            on_masks=on_masks,
            heartbeat=heartbeat,
            num_threads=self.config.num_measuring_threads,
        )

    def result_of(self, step: int) -> EvaluationResult | None:
        """The details of a measurement; None if they have not been kept."""
        path = self._path(step)
        return _read_result(path) if path.is_file() else None

    def set_aside(self, step: int) -> None:
        """Renames the folder of measurements up to `step`, which are not to be compared with those that follow."""
        if self.folder.is_dir():
            replaced = self.folder.with_name(f"{self.folder.name}_until_step_{step}")
            shutil.rmtree(replaced, ignore_errors=True)  # of an earlier start from this step
            self._try(lambda: self.folder.rename(replaced))

    def keep_as_best(self) -> None:
        """Keeps the newest masks as those of the best weights."""
        newest, best = self.folder / "masks" / NEWEST, self.folder / "masks" / BEST
        if newest.is_dir():
            shutil.rmtree(best, ignore_errors=True)
            self._try(lambda: newest.rename(best))

    def masks_folder(self, which: str) -> Path:
        """Where the predicted masks of the initial, best or newest weights are."""
        return self.folder / "masks" / which

    def _try(self, write: Callable[[], object]) -> None:
        """Writes a file. A full disk is logged once; training continues."""
        try:
            write()
        except OSError as error:
            if not self._warned:
                self._warned = True
                _logger.warning("details of a validation cannot be kept in %s: %s", self.folder, error)

    def _keep(self, step: int, content: dict[str, object]) -> None:
        write_text(self._path(step), json.dumps(content) + "\n")

    def _path(self, step: int) -> Path:
        return self.folder / f"step_{step:08d}.json"

    def _losses(
        self, model: TrainableSAM2, precision: ForwardPrecision, heartbeat: HeartbeatCallback
    ) -> dict[str, float]:
        """{loss, loss_<term>}: as in training, per object, over one fixed clip of each video; {} without clips.

        Prompts and clicks are the same in every validation. Summed in the clips' order, whatever the number of ranks.
        """

        def measure_mine(heartbeat: HeartbeatCallback) -> dict[int, tuple[float, dict[str, float]]]:
            found = {}
            with preserved_rng(model), eval_mode(model):
                for number in range(self.ranks.rank, len(self.batches), self.ranks.world_size):
                    heartbeat()
                    found[number] = self._clip_loss(model, number, precision)
            return found

        parts = self.ranks.collect_with_heartbeat(measure_mine, heartbeat)
        merged = {number: found for part in parts for number, found in part.items()}
        weight = sum(merged[number][0] for number in sorted(merged))
        if not weight:
            return {}
        names = list(merged[min(merged)][1])
        sums = {name: sum(merged[number][1][name] for number in sorted(merged)) for name in names}
        return {("loss" if name == "total" else name): value / weight for name, value in sums.items()}

    def _clip_loss(
        self, model: TrainableSAM2, number: int, precision: ForwardPrecision
    ) -> tuple[float, dict[str, float]]:
        """(number of objects, each loss term summed over them) of one clip."""
        batch = self.batches[number]().to(self.ranks.device)
        prompts = rng_for(self.config.seed, "validation_prompts", number)
        with torch.no_grad(), precision.autocast():
            losses = tracked_loss(model(batch, prompts), self.config.loss, 1.0)
        return float(batch.info.loss_weight), {name: float(value) for name, value in losses.items()}


def kept_results(folder: Path) -> dict[int, EvaluationResult]:
    """{step: result} of all measurements that a `MeasuredSet` has kept in its folder."""
    paths = sorted(folder.glob("step_*.json"))
    results = {int(path.stem.removeprefix("step_")): _read_result(path) for path in paths}
    return {step: result for step, result in results.items() if result is not None}


def _read_result(path: Path) -> EvaluationResult | None:
    """The result in a file of `MeasuredSet`; a damaged one is set aside with a warning."""
    try:
        return EvaluationResult.from_json(json.loads(path.read_text())["result"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        aside = set_aside(path, "corrupt")
        _logger.warning("%s is damaged (%s): renamed %s", path, error or type(error).__name__, aside.name)
        return None


def loss_batches(dataset: ClipDataset, count: int) -> LossBatches:
    """One fixed clip of each of the first `count` videos of a dataset that a clip fits into.

    A clip depends on the run's seed and the video's number only; it is not augmented.
    """

    def reader(number: int) -> Callable[[], VideoBatch]:
        return lambda: dataset.batch([SampleKey(0, number, number)])

    return [reader(number) for number in range(count) if dataset.has_clip(number)]
