"""Mixed precision, and an optimizer step that is left out when the loss or the gradient is not finite."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from sam2_training.core.errors import ConfigError
from sam2_training.core.ranks import Ranks

MAX_OVERFLOWS = 40
"""Steps in a row with an overflowing fp16 gradient that the loss scaler may take to find its scale. It starts at 2^16
and halves each time, so that after 40 the scale is 2^-24: the gradient is not finite at any scale."""


class Precision:
    """The number format of the forward pass: fp32, or bf16 or fp16 through autocast (weights stay fp32)."""

    def __init__(self, setting: Literal["auto", "32", "bf16-mixed", "16-mixed"], device: torch.device) -> None:
        """auto: bf16-mixed on CUDA, 32 elsewhere. Raises ConfigError where the device lacks the format."""
        on_cuda = device.type == "cuda"
        self.name = ("bf16-mixed" if on_cuda else "32") if setting == "auto" else setting
        """The setting in force: never auto."""
        self.device_type = device.type
        if self.name == "16-mixed" and not on_cuda:
            raise ConfigError(
                f"trainer.precision=16-mixed needs a GPU, this run is on {device.type}; use bf16-mixed or 32"
            )
        if self.name == "bf16-mixed" and on_cuda and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise ConfigError(
                f"trainer.precision={setting} means bf16, which {torch.cuda.get_device_name(device)} lacks; "
                "use trainer.precision=16-mixed, or 32"
            )
        self.scaler = torch.amp.GradScaler(device.type) if self.name == "16-mixed" else None
        """Keeps small fp16 gradients from vanishing; None in the other formats."""

    @property
    def autocast_dtype(self) -> torch.dtype | None:
        """What the forward pass computes in under autocast; None: fp32, without it."""
        return {"32": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}[self.name]

    def autocast(self) -> AbstractContextManager[Any]:
        """A context for the forward pass and the loss."""
        if self.autocast_dtype is None:
            return nullcontext()
        return torch.autocast(self.device_type, self.autocast_dtype)

    def scale(self, loss: Tensor) -> Tensor:
        """The loss to call backward on."""
        return loss if self.scaler is None else self.scaler.scale(loss)


class GuardedStep:
    """Clips the gradient and takes the optimizer step, unless the loss or the gradient is not finite on any rank.

    Once that has happened every later step is skipped too, until `non_finite_since` is asked. So the check may come
    late: the weights are still those from before the bad step. It does not wait for the device: the verdict
    is a tensor on it, which fused optimizers take as their `found_inf`. Optimizers without fused kernels cost one
    read per step.

    With a loss scaler (fp16), a gradient that is not finite only means too high a scale: the scaler lowers it and that
    one step is left out; only a loss that is not finite, or MAX_OVERFLOWS such steps in a row, is an error.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, precision: Precision, clip_val: float | None, ranks: Ranks
    ) -> None:
        """clip_val: largest L2 norm of the gradient over all parameters; None: no clipping."""
        self._optimizer, self._scaler, self._clip_val, self._ranks = optimizer, precision.scaler, clip_val, ranks
        self._parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self._fused = bool(optimizer.defaults.get("fused"))
        # 1 from the first non-finite step on; a float, because found_inf must be one.
        self._failed = torch.zeros((), device=ranks.device)
        self._first_failed_step = torch.zeros((), dtype=torch.int64, device=ranks.device)
        self._overflows = torch.zeros((), dtype=torch.int64, device=ranks.device)

    @property
    def is_cheap_to_ask(self) -> bool:
        """Whether `non_finite_since` answers without waiting for the device, so that it may be asked every step."""
        return self._ranks.device.type == "cpu"

    @torch.no_grad()
    def step(self, total_loss: Tensor, number: int) -> Tensor:
        """Takes the step if it may, and returns the gradient's L2 norm before clipping, on the device.

        total_loss: this rank's loss of the whole step, unscaled. number: what the run calls this step, from 1.
        Every rank must call it.
        """
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        bad = ~torch.isfinite(total_loss)
        if self._scaler is not None:
            self._fail_if(bad, number)
            self._poison_gradients(gradients)
            self._scaler.unscale_(self._optimizer)
        norm = get_total_norm(gradients).to(self._ranks.device)
        self._fail_if(bad | self._bad_norm(norm), number)
        if self._clip_val is not None:
            clip_grads_with_norm_(self._parameters, self._clip_val, norm)
        self._step_if_not_failed()
        return norm

    def non_finite_since(self) -> int | None:
        """The number of the first step that was left out as an error, the same on every rank; None if there is none.

        Waits for the device unless `is_cheap_to_ask`: ask at log intervals, and before a checkpoint is written, since
        steps after the bad one count as done although they were left out.
        """
        return int(self._first_failed_step.item()) or None

    def state_dict(self) -> dict[str, Any]:
        """The loss scaler's state, plain numbers; empty without one."""
        return {} if self._scaler is None else {"scaler": self._scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts a `state_dict` back. A run that changed its precision starts with a fresh scaler, or none."""
        if self._scaler is not None and "scaler" in state:
            self._scaler.load_state_dict(state["scaler"])

    def _fail_if(self, bad: Tensor, number: int) -> None:
        """Makes the verdict "failed", for good and on all ranks, if `bad` is true on one of them."""
        failed = torch.maximum(self._failed, self._ranks.max_tensor(bad.to(self._failed)))
        # Arithmetic, not torch.where: that would copy its Python number to the device, and wait.
        self._first_failed_step = self._first_failed_step + (failed - self._failed).to(torch.int64) * number
        self._failed = failed

    def _bad_norm(self, norm: Tensor) -> Tensor:
        """Whether this gradient norm is an error, rather than something the loss scaler will deal with."""
        overflow = ~torch.isfinite(norm)
        if self._scaler is None:
            return overflow
        self._overflows = (self._overflows + 1) * overflow
        return self._overflows >= MAX_OVERFLOWS

    def _poison_gradients(self, gradients: list[Tensor]) -> None:
        """Makes one gradient infinite if the run has failed: the scaler leaves a step out for its gradients only."""
        zero_or_infinite = self._failed / (1 - self._failed)
        min(gradients, key=Tensor.numel).add_(zero_or_infinite)

    def _step_if_not_failed(self) -> None:
        if self._scaler is not None:
            self._scaler.step(self._optimizer)
            self._scaler.update()
        elif self._fused:
            optimizer: Any = self._optimizer  # the two attributes are torch's protocol for fused kernels, but untyped
            optimizer.grad_scale, optimizer.found_inf = None, self._failed
            optimizer.step()
        elif not self._failed.item():
            self._optimizer.step()
