"""The training loop: it owns the step counter, and asks the services for everything else."""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sam2_training.core.errors import EXIT_FINISHED, EXIT_PREEMPTED, DataError, NonFiniteError, RunStatus, TrainingError
from sam2_training.core.ranks import Ranks
from sam2_training.core.rng import derive_seed
from sam2_training.engine.checkpoint.policy import SavePolicy
from sam2_training.engine.checkpoint.state import resume_or_start
from sam2_training.engine.config import LoadedConfig, RunConfig
from sam2_training.engine.loader import StepLoader
from sam2_training.engine.logging.run_log import RunLog
from sam2_training.engine.optimizer import build_optimizer, load_optimizer_state, optimizer_state
from sam2_training.engine.plan import Order
from sam2_training.engine.precision import GuardedStep, Precision
from sam2_training.engine.preemption import StopRequest
from sam2_training.engine.reporting import Reporter
from sam2_training.engine.schedule import Schedule
from sam2_training.engine.task import BatchT, ModelT, StepContext, StepModule, Task
from sam2_training.engine.validation import StopInValidation, Validator


@dataclass(frozen=True)
class RunResult:
    """How a training ended, and after which optimizer step."""

    exit_code: int
    step: int
    reason: str = ""
    """Why it ended before its last step, if it did."""


class Trainer(Generic[BatchT, ModelT]):
    """One training, from the newest intact checkpoint (or the initial weights) to the last step or a stop request."""

    def __init__(self, loaded: LoadedConfig[RunConfig], task: Task[BatchT, ModelT], ranks: Ranks) -> None:
        self.loaded, self.config = loaded, loaded.config
        self.task, self.ranks = task, ranks
        config = self.config

        # The network, its initial weights the same on every rank and in every start.
        torch.manual_seed(derive_seed(config.seed, "init"))
        self.model = task.model().to(ranks.device)
        self.optimizer = build_optimizer(self.model, config.optimizer.lr, config.optimizer, ranks.device)
        self.precision = Precision(config.trainer.precision, ranks.device)
        self.guard = GuardedStep(self.optimizer, self.precision, config.trainer.gradient_clip_val, ranks)

        # Where the run stands, which fixes its global batch and with it the order of samples.
        self.store, self.state = resume_or_start(loaded, task.data_fingerprint(), ranks)
        validated: dict[str, Any] | None = None
        if self.state.saved is not None:
            self.model.load_state_dict(self.state.saved["model"])
            load_optimizer_state(self.optimizer, self.state.saved["optimizer"])
            self.guard.load_state_dict(self.state.saved["guard"])
            validated = self.state.saved.get("validation")
            self.state.saved = None  # its tensors would otherwise stay in memory for the whole run
        dataset = task.dataset()
        self.order = Order(
            config.seed,
            len(dataset),
            self.state.global_batch,
            ranks.world_size,
            self.state.first_world_size,
            config.trainer.limit_train_batches,
        )
        self.total_steps = config.trainer.max_steps or config.trainer.max_epochs * self.order.steps_per_epoch
        if config.trainer.limit_train_batches == 0:
            self.total_steps = self.state.step  # validate only
        self.schedule = Schedule(config.scheduler, self.total_steps)
        self.loader = StepLoader(
            dataset,
            self.order,
            rank=ranks.rank,
            batch_size=config.loader.batch_size,
            num_workers=config.loader.num_workers,
            pin_memory=ranks.device.type == "cuda",
        )
        self.validator = self._open_validator(validated)
        self.reporter = Reporter(
            task, self.validator, self.total_steps, self.order.steps_per_epoch, ranks, loaded.log_dir
        )
        self._wait_seconds_seen = 0.0
        self.step_module = self._distribute(task.step_module(self.model))

    def fit(self, log: RunLog, stop: StopRequest) -> RunResult:
        """Trains until the last step or a stop request.

        Raises NonFiniteError, DataError or CheckpointError, each on all ranks at the same step.
        """
        policy = SavePolicy(
            self.config.checkpoint, self.order, self.total_steps, self.ranks, self.config.checkpoint.every_n_epochs
        )
        self.step_module.train()
        ended = self._begin(policy, log, stop)
        if ended is not None:
            return ended
        with self.loader:
            for micro_batches in self.loader.from_step(self.state.step, self.total_steps):
                number = self.state.step + 1  # steps are counted from 1 where people see them
                lr_factor = self.schedule.apply(self.optimizer, self.state.step)
                losses, grad_norm = self._train_step(micro_batches, log)

                stopping = self.ranks.any_says(stop.requested)
                validating = self.validator is not None and self.validator.due(number)
                saving = stopping or policy.due(number) or validating
                self.state.remember_sources(number, [line for batch in micro_batches for line in batch.info.sources])
                if saving or log.reading_due(number) or self.guard.is_cheap_to_ask:
                    self._stop_if_not_finite(log)

                self.state.step = number
                log.step(
                    number,
                    losses,
                    grad_norm,
                    lr=self.config.optimizer.lr * lr_factor,
                    num_clips=sum(len(batch.info.sources) for batch in micro_batches),
                    data_wait_seconds=self._new_wait_seconds(),
                )
                self._picture(number, micro_batches[0], log)
                if saving:
                    log.flush()  # what the checkpoint covers must be in the metrics before it
                    policy.save(self.store, number, self.model, self._state_to_save(), log)
                    if self.validator is None:
                        self.reporter.write(log, "running", number)
                if stopping and (number < self.total_steps or validating):
                    return RunResult(EXIT_PREEMPTED, number)
                if validating:
                    ended = self._validate(policy, log, stop)
                    if ended is not None:
                        return ended
        return RunResult(EXIT_FINISHED, self.state.step)

    def close(self, result: RunResult, log: RunLog) -> list[str]:
        """Writes the last report; lines for the end banner: what the training was worth."""
        status: RunStatus = "finished" if result.exit_code == EXIT_FINISHED else "stopped"
        self.reporter.write(log, status, result.step, result.reason)
        return self.reporter.end_summary(status, result.step)

    def close_failed(self, error: TrainingError, log: RunLog) -> None:
        """Writes the last report of a run that ends with an error."""
        self.reporter.write(log, "failed", self.state.step, str(error).splitlines()[0])

    def _begin(self, policy: SavePolicy, log: RunLog, stop: StopRequest) -> RunResult | None:
        """Validates what is due where the run starts or continues; a result if there is nothing left to do."""
        validator, step = self.validator, self.state.step
        if validator is None:
            return None
        try:
            if step == 0:
                validator.sanity_check(self.model, log, stop)
        except StopInValidation:
            return RunResult(EXIT_PREEMPTED, step)
        if validator.pending(step):
            return self._validate(policy, log, stop)
        reason = validator.reason_to_stop()
        return None if reason is None else RunResult(EXIT_FINISHED, step, reason)

    def _validate(self, policy: SavePolicy, log: RunLog, stop: StopRequest) -> RunResult | None:
        """Measures the weights as they are now; a result if the run ends with that."""
        validator, step = self.validator, self.state.step
        assert validator is not None
        try:
            validator.run(self.model, step, log, stop)
        except StopInValidation:
            return RunResult(EXIT_PREEMPTED, step)
        if step > 0:  # before the first step there is nothing to lose
            policy.save(self.store, step, self.model, self._state_to_save(), log)
        self.reporter.write(log, "running", step)
        reason = validator.reason_to_stop()
        if reason is not None:
            log.message(f"stopping early: {reason}")
        return None if reason is None else RunResult(EXIT_FINISHED, step, reason)

    def _open_validator(self, state: dict[str, Any] | None) -> Validator[ModelT] | None:
        """The validator of this run, where it stood; None if no data is set aside for it."""
        validation = self.task.validation()
        if validation is None or self.config.trainer.limit_val_batches == 0:
            return None
        folder = self.loaded.log_dir
        validator = Validator(validation, self.config, self.order, self.total_steps, self.precision, self.ranks, folder)
        if state is not None:
            validator.load_state_dict(state)
        return validator

    def _train_step(self, micro_batches: list[BatchT], log: RunLog) -> tuple[dict[str, Tensor], Tensor]:
        """One optimizer step over this rank's share of a global batch: (losses summed over it, gradient norm)."""
        step = self.state.step
        weight, bad_samples = self.ranks.sum_each(
            [
                float(sum(batch.info.loss_weight for batch in micro_batches)),
                float(sum(len(batch.info.bad_samples) for batch in micro_batches)),
            ]
        )
        self._count_bad_samples(micro_batches, int(bad_samples), log)
        # DDP takes the mean over ranks, so dividing by the ranks' mean number of objects divides by their total.
        normalizer = max(weight / self.ranks.world_size, 1.0)
        torch.manual_seed(derive_seed(self.config.seed, "noise", step, self.ranks.rank))
        self.optimizer.zero_grad(set_to_none=True)
        totals: dict[str, Tensor] = {}
        for i, batch in enumerate(micro_batches):
            on_device = batch.to(self.ranks.device, non_blocking=True)
            context = StepContext(self.config.seed, step, i, self.ranks.rank)
            with self._gradient_sync(last=i == len(micro_batches) - 1):
                with self.precision.autocast():
                    losses = self.step_module(on_device, normalizer, context)
                self.precision.scale(losses["total"]).backward()  # type: ignore[no-untyped-call]
            for name, value in losses.items():
                totals[name] = totals[name] + value.detach() if name in totals else value.detach()
        # A global batch of nothing but left-out samples has no gradient to follow.
        grad_norm = self.guard.step(totals["total"], step + 1) if weight > 0 else torch.zeros_like(totals["total"])
        return totals, grad_norm

    def _picture(self, step: int, batch: BatchT, log: RunLog) -> None:
        """Shows what the network makes of a training batch, where the configuration asks for it."""
        interval = self.config.picture_interval
        if interval and step % interval == 0:
            on_device = batch.to(self.ranks.device)
            self.ranks.on_main(lambda: log.picture("training", self.task.training_picture(self.model, on_device), step))

    def _gradient_sync(self, last: bool) -> contextlib.AbstractContextManager[Any]:
        """Lets DDP exchange gradients only in the last micro-batch of a step."""
        if last or not isinstance(self.step_module, DistributedDataParallel):
            return contextlib.nullcontext()
        return self.step_module.no_sync()

    def _distribute(self, step_module: StepModule[BatchT]) -> nn.Module:
        """The step module, wrapped in DDP when there are peers."""
        if self.ranks.world_size == 1:
            return step_module
        # Which parameters get a gradient depends on the prompts drawn for the step (a one-frame clip never uses memory
        # attention). A parameter that no rank used keeps no gradient, as on a single device.
        options: dict[str, Any] = {"find_unused_parameters": True}
        options[_sync_buffers_argument()] = False  # no buffer of the network ever changes
        if self.ranks.device.type == "cuda":
            options["device_ids"] = [self.ranks.device]
        return DistributedDataParallel(step_module, **options)

    def _count_bad_samples(self, micro_batches: list[BatchT], on_all_ranks: int, log: RunLog) -> None:
        """Shows left-out samples and raises DataError when an epoch has lost more of them than allowed."""
        for message in (message for batch in micro_batches for message in batch.info.bad_samples):
            log.warning(f"left out of step {self.state.step + 1}: {message}")
        epoch, step_in_epoch = self.order.epoch_of(self.state.step)
        before = 0 if step_in_epoch == 0 else self.state.bad_samples
        self.state.bad_samples = before + on_all_ranks
        allowed = self.config.max_bad_fraction * len(self.task.dataset())
        if self.state.bad_samples > allowed:
            raise DataError(
                f"{self.state.bad_samples} clip(s) of epoch {epoch + 1} could not be used, more than "
                f"dataset.max_bad_fraction={self.config.max_bad_fraction} allows ({allowed:g} of "
                f"{len(self.task.dataset())}). The warnings above name the files; mend them or raise the fraction."
            )

    def _stop_if_not_finite(self, log: RunLog) -> None:
        """Raises NonFiniteError on all ranks if a loss or gradient was not finite; no step was taken with it."""
        bad_step = self.guard.non_finite_since()
        if bad_step is None:
            self.state.forget_sources()
            return
        sources = self.ranks.gather(self.state.sources_of(bad_step))
        report = log.folder / f"nonfinite_step_{bad_step:08d}.json"
        log.write_once(report, json.dumps({"step": bad_step, "sources_by_rank": sources}, indent=1))
        raise NonFiniteError(
            f"loss or gradient is not finite at step {bad_step}; no optimizer step was taken with it.\n"
            f"  clips  {'; '.join(line for lines in sources for line in lines[:4])}\n"
            f"  list   {report}\n"
            "Look at these clips; a lower optimizer.lr or trainer.precision=32 helps when the data is right. "
            "Starting again continues from the last checkpoint."
        )

    def _new_wait_seconds(self) -> float:
        """Time spent waiting for data since the last call."""
        before, self._wait_seconds_seen = self._wait_seconds_seen, self.loader.wait_seconds
        return self._wait_seconds_seen - before

    def _state_to_save(self) -> dict[str, Any]:
        parts = {"optimizer": optimizer_state(self.optimizer), "guard": self.guard.state_dict()}
        if self.validator is not None:
            parts["validation"] = self.validator.state_dict()
        return self.state.to_save(**parts)


def _sync_buffers_argument() -> str:
    """What this version of torch calls DDP's option to exchange buffers in every forward pass."""
    accepted = inspect.signature(DistributedDataParallel.__init__).parameters
    return "forward_sync_buffers" if "forward_sync_buffers" in accepted else "broadcast_buffers"


def end_summary(task: Task[BatchT, ModelT], result: RunResult, checkpoint_path: str) -> Iterator[str]:
    """The lines of the end banner."""
    if result.exit_code == EXIT_PREEMPTED:
        yield f"Stopped on request after step {result.step}; everything is saved. The same command continues."
    else:
        yield f"Finished after step {result.step}{': ' + result.reason if result.reason else ''}."
    yield f"checkpoint  {checkpoint_path}"
    yield "Load it with:"
    yield from (f"  {line}" for line in task.usage_snippet(checkpoint_path))
