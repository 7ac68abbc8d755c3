"""One optimizer step: forward and backward over accumulated batches, gradients exchanged once, a guarded update."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Sequence
from typing import Any, Generic

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sam2_training.core.ranks import Ranks
from sam2_training.core.rng import derive_seed
from sam2_training.engine.precision import GuardedStep, Precision
from sam2_training.engine.task import BatchT, StepContext, StepModule


class TrainStep(Generic[BatchT]):
    """Runs optimizer steps of one step module, on one rank or on several with DDP."""

    def __init__(
        self,
        module: StepModule[BatchT],
        optimizer: torch.optim.Optimizer,
        precision: Precision,
        guard: GuardedStep,
        seed: int,
        ranks: Ranks,
    ) -> None:
        self.optimizer, self.precision, self.guard = optimizer, precision, guard
        self.seed, self.ranks = seed, ranks
        self.module = _distributed(module, ranks)

    def run(self, step: int, batches: Sequence[BatchT], weight: float) -> tuple[dict[str, Tensor], Tensor]:
        """(losses summed over the batches, gradient norm), on the device, after step `step`, counted from 0.

        batches: this rank's share of the global batch. weight: what the loss of the whole global batch is divided by;
        0 if there is nothing to learn from.
        """
        # DDP takes the mean over ranks, so dividing by the ranks' mean weight divides by the total.
        normalizer = max(weight, 1.0) / self.ranks.world_size
        context = StepContext(self.seed, step)
        # For dropout alone: its random numbers are drawn layer by layer, so they do depend on how the batch is cut.
        torch.manual_seed(derive_seed(self.seed, "noise", step, self.ranks.rank))
        self.optimizer.zero_grad(set_to_none=True)
        totals: dict[str, Tensor] = {}
        for number, batch in enumerate(batches):
            on_device = batch.to(self.ranks.device, non_blocking=True)
            with self._gradient_sync(last=number == len(batches) - 1):
                with self.precision.autocast():
                    losses: dict[str, Tensor] = self.module(on_device, normalizer, context)
                self.precision.scale(losses["total"]).backward()  # type: ignore[no-untyped-call]
            for name, value in losses.items():
                totals[name] = totals[name] + value.detach() if name in totals else value.detach()
        # A global batch of nothing but left-out samples has no gradient to follow.
        grad_norm = self.guard.step(totals["total"], step + 1) if weight > 0 else torch.zeros_like(totals["total"])
        return totals, grad_norm

    def _gradient_sync(self, last: bool) -> contextlib.AbstractContextManager[Any]:
        """Lets DDP exchange gradients only in the last batch of a step."""
        if last or not isinstance(self.module, DistributedDataParallel):
            return contextlib.nullcontext()
        return self.module.no_sync()


def _distributed(module: StepModule[BatchT], ranks: Ranks) -> nn.Module:
    """The module, wrapped in DDP when there are other ranks."""
    if ranks.world_size == 1:
        return module
    # Which parameters get a gradient may differ from step to step. One that no rank used keeps no gradient, as on a
    # single device.
    options: dict[str, Any] = {"find_unused_parameters": True}
    options[_sync_buffers_argument()] = False  # no buffer of the network ever changes
    if ranks.device.type == "cuda":
        options["device_ids"] = [ranks.device]
    return DistributedDataParallel(module, **options)


def _sync_buffers_argument() -> str:
    """What this version of torch calls DDP's option to exchange buffers in every forward pass."""
    accepted = inspect.signature(DistributedDataParallel.__init__).parameters
    return "forward_sync_buffers" if "forward_sync_buffers" in accepted else "broadcast_buffers"
