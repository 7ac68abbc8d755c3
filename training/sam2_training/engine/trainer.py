"""The training loop: it owns the step counter, and asks the services for everything else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic

import torch

from sam2_training.core.errors import EXIT_FINISHED, EXIT_PREEMPTED, RunStatus, TrainingError
from sam2_training.core.ranks import Ranks
from sam2_training.core.rng import derive_seed
from sam2_training.engine.checkpoint.checkpointer import Checkpointer, Stateful
from sam2_training.engine.config import LoadedConfig, RunConfig
from sam2_training.engine.grouped_order import order_of
from sam2_training.engine.loader import StepLoader
from sam2_training.engine.logging.run_log import RunLog
from sam2_training.engine.optimizer import OptimizerState, build_optimizer
from sam2_training.engine.plan import RunPlan
from sam2_training.engine.precision import GuardedStep, Precision
from sam2_training.engine.preemption import StopRequest
from sam2_training.engine.reporting import Reporter
from sam2_training.engine.sample_faults import FiniteCheck, check_left_out
from sam2_training.engine.step import TrainStep
from sam2_training.engine.task import BatchT, ModelT, Task
from sam2_training.engine.torch_schedule import build_schedule
from sam2_training.engine.validation import StopInValidation, Validator
from sam2_training.engine.weights import RunWeights


@dataclass(frozen=True)
class RunResult:
    """How a run ended, and after which optimizer step."""

    exit_code: int
    step: int
    reason: str = ""
    """Why it ended before its last step, if it did."""
    left_out: str = ""
    """A sentence on the optimizer steps of the run that were left out, if there were any."""


class Trainer(Generic[BatchT, ModelT]):
    """One run, from the newest intact checkpoint (or the initial weights) to the last step or a stop request."""

    def __init__(self, loaded: LoadedConfig[RunConfig], task: Task[BatchT, ModelT], ranks: Ranks) -> None:
        config = self.config = loaded.config
        self.task, self.ranks = task, ranks

        # The network, its initial weights the same on every rank and in every start.
        torch.manual_seed(derive_seed(config.seed, "init"))
        self.model = task.model().to(ranks.device)
        self.weights = RunWeights(self.model, task.saved_form, config.trainer.ema_decay)
        self.optimizer = build_optimizer(self.model, config.optimizer, ranks.device)
        self.precision = Precision(config.trainer.precision, ranks.device)
        budget = config.trainer.nonfinite_budget if config.trainer.on_nonfinite == "skip" else 0
        guard = GuardedStep(self.optimizer, self.precision, config.trainer.gradient_clip_val, ranks, budget)
        self.finite = FiniteCheck(guard, ranks, loaded.log_dir, task.sample_noun)

        # Where the run stands, which fixes its global batch and with it the order of samples.
        self.checkpointer = Checkpointer(loaded, ranks)
        self.state = self.checkpointer.resume_or_start(
            {"dataset": task.data_fingerprint(), "architecture": task.model_fingerprint()}, task.sample_groups()
        )
        self.dataset = task.dataset()
        order = order_of(config, self.state, task.sample_groups(), len(self.dataset), ranks.world_size)
        self.plan = RunPlan(config, order, self.state.step, self.state.batches_per_step)
        self.loader = StepLoader(
            self.dataset,
            order,
            rank=ranks.rank,
            batch_size=config.loader.batch_size,
            num_workers=config.loader.num_workers,
            pin_memory=ranks.device.type == "cuda",
            timeout_minutes=config.loader.timeout_minutes,
            folder=loaded.log_dir,
        )
        validation = task.validation() if config.trainer.limit_val_batches else None
        self.validator: Validator[ModelT] | None = None
        self.parts: dict[str, Stateful] = {"optimizer": OptimizerState(self.optimizer), "guard": guard}
        if validation is not None:
            self.validator = Validator(validation, self.plan, self.precision, ranks, loaded.log_dir)
            self.parts["validation"] = self.validator
        self.schedule = build_schedule(config, self.optimizer, self.plan, validation is not None)
        self.parts["schedule"] = self.schedule  # after the optimizer, whose rates it restores
        self.checkpointer.restore(self.weights, self.parts)
        if self.validator is not None:
            self.state.notes += self.validator.begin(self.state.step)
        self.reporter = Reporter(task, self.validator, self.plan, ranks, loaded.log_dir)
        self.step = TrainStep(task.step_module(self.model), self.optimizer, self.precision, guard, config.seed, ranks)

    def fit(self, log: RunLog, stop: StopRequest) -> RunResult:
        """Trains until the last step or a stop request.

        Raises NonFiniteError, DataError or CheckpointError, each on all ranks at the same step; CheckpointError also
        when the state that it ends with cannot be saved.
        """
        result = self._train(log, stop)
        if self.checkpointer.failed_in_a_row:
            self._save(is_last=True)
        return replace(result, left_out=self.finite.summary())

    def _train(self, log: RunLog, stop: StopRequest) -> RunResult:
        """`fit`, without a last look at what is saved."""
        self.step.module.train()
        ended = self._begin(log, stop)
        if ended is not None:
            return ended
        with self.loader:
            for batches in self.loader.from_step(self.state.step, self.plan.total_steps):
                number = self.state.step + 1  # steps are counted from 1 where users see them
                lr = self.schedule.apply(self.state.step)
                weight = self._weigh(batches, log)
                losses, grad_norm = self.step.run(self.state.step, batches, weight)
                self.weights.after_step(number)

                stopping = self.ranks.any_says(stop.requested)
                validating = self.validator is not None and self.plan.validates_at(number)
                saving = stopping or self.checkpointer.should_save(number, self.plan) or validating
                sources = [line for batch in batches for line in batch.info.sources]
                self.finite.remember(number, sources)
                if saving or log.reading_due(number) or self.finite.is_cheap:
                    self.finite.check()

                self.state.step = number
                self.schedule.after_step(number)
                log.step(
                    number,
                    losses,
                    grad_norm,
                    lr=lr,
                    num_samples=len(sources),
                    data_wait_seconds=self.loader.take_wait_seconds(),
                    left_out_steps=self.step.guard.left_out,
                )
                if self.plan.pictures_at(number):
                    self._picture(batches[0], log)
                if saving:
                    log.flush()  # what the checkpoint covers must be in the metrics before it
                    self._save(is_last=stopping or number == self.plan.total_steps)
                    if self.validator is None:
                        self.reporter.write(log, "running", number)
                if stopping and (number < self.plan.total_steps or validating):
                    return RunResult(EXIT_PREEMPTED, number)
                if validating:
                    ended = self._validate(log, stop)
                    if ended is not None:
                        return ended
        return RunResult(EXIT_FINISHED, self.state.step)

    def close(self, result: RunResult, log: RunLog) -> list[str]:
        """Writes the last report; lines for the end banner: before and after, where the report is."""
        status: RunStatus = "finished" if result.exit_code == EXIT_FINISHED else "stopped"
        if status == "finished":
            self.checkpointer.mark_finished(result.step)
            measured = self.validator.history[-1] if self.validator is not None and self.validator.history else {}
            log.summary(result.step, {name: value for name, value in measured.items() if name != "step"})
        self.reporter.write(log, status, result.step, result.reason)
        return self.reporter.end_summary(log, status, result.step)

    def close_failed(self, error: TrainingError, log: RunLog) -> None:
        """Writes the last report of a run that ends with an error."""
        self.reporter.write(log, "failed", self.state.step, str(error).splitlines()[0])

    def _begin(self, log: RunLog, stop: StopRequest) -> RunResult | None:
        """Validates what is due where the run starts or continues; a result if there is nothing left to do."""
        validator, step = self.validator, self.state.step
        if validator is None:
            return None
        try:
            if step == 0:
                validator.sanity_check(self.model, log, stop)
                log.restart_clock()
        except StopInValidation:
            return RunResult(EXIT_PREEMPTED, step)
        if validator.pending(step) or self.config.trainer.limit_train_batches == 0:
            return self._validate(log, stop)
        reason = validator.reason_to_stop()
        return None if reason is None else RunResult(EXIT_FINISHED, step, reason)

    def _weigh(self, batches: list[BatchT], log: RunLog) -> float:
        """What the loss of this step's global batch is divided by. Counts and shows samples that were left out.

        Raises DataError on all ranks when an epoch has left out more samples than allowed.
        """
        weight, left_out = self.ranks.sum_each(
            [
                float(sum(batch.info.loss_weight for batch in batches)),
                float(sum(len(batch.info.bad_samples) for batch in batches)),
            ]
        )
        for message in (message for batch in batches for message in batch.info.bad_samples):
            log.warning(f"left out of step {self.state.step + 1}: {message}")
        epoch, step_in_epoch = self.plan.order.epoch_of(self.state.step)
        before = 0 if step_in_epoch == 0 else self.state.bad_samples
        self.state.bad_samples = before + int(left_out)
        allowed = self.config.max_bad_fraction
        check_left_out(self.state.bad_samples, len(self.dataset), allowed, epoch + 1, self.task.sample_noun)
        return weight

    def _validate(self, log: RunLog, stop: StopRequest) -> RunResult | None:
        """Measures the weights as they are now; a result if the run ends with that."""
        validator, step = self.validator, self.state.step
        assert validator is not None
        try:
            validator.run(self.weights, step, log, stop)
        except StopInValidation:
            return RunResult(EXIT_PREEMPTED, step)
        if step > 0:  # before the first step there is nothing to lose
            self.schedule.after_validation(validator.history[-1])
            self._save(is_last=step == self.plan.total_steps)
        self.reporter.write(log, "running", step)
        log.restart_clock()
        reason = validator.reason_to_stop()
        return None if reason is None else RunResult(EXIT_FINISHED, step, reason)

    def _save(self, is_last: bool) -> None:
        self.checkpointer.save(self.state, self.weights, self.parts, is_last)

    def _picture(self, batch: BatchT, log: RunLog) -> None:
        """Logs what the network makes of a training sample."""
        on_device = batch.to(self.ranks.device)
        if not self.ranks.is_main:
            return
        try:
            picture = self.task.training_picture(self.model, on_device)
        except Exception as error:
            log.failure("a picture of a training sample cannot be made", error)
            return
        if picture is not None:
            log.picture("training", picture, self.state.step)
