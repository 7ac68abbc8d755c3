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

    So many steps of a run may be left out for that (`budget`). One more is an error: then every later step is left out
    too, until `non_finite_since` is asked. So the check may come late: the weights are still those from before it. It
    does not wait for the device: the verdict is a tensor on it, which fused optimizers take as their `found_inf`.
    Optimizers without fused kernels cost one read per step.

    With a loss scaler (fp16), a gradient that is not finite only means too high a scale: the scaler lowers it and that
    one step is left out; only a loss that is not finite, or MAX_OVERFLOWS such steps in a row, is an error.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        precision: Precision,
        clip_val: float | None,
        ranks: Ranks,
        budget: int = 0,
    ) -> None:
        """clip_val: largest L2 norm of the gradient over all parameters; None: no clipping."""
        self.budget = budget
        self._optimizer, self._scaler, self._clip_val, self._ranks = optimizer, precision.scaler, clip_val, ranks
        self._parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self._fused = bool(optimizer.defaults.get("fused"))
        # 1 once the budget is exceeded; a float, because found_inf must be one.
        self._failed = torch.zeros((), device=ranks.device)
        self._left_out = torch.zeros((), device=ranks.device)
        self._unread: list[tuple[int, Tensor]] = []
        """(number, whether it was left out) of each step since the last reading; the verdicts are on the device."""
        self._first_failed_step: int | None = None
        self._overflows = torch.zeros((), dtype=torch.int64, device=ranks.device)

    @property
    def is_cheap_to_ask(self) -> bool:
        """Whether `non_finite_since` answers without waiting for the device, so that it may be asked every step."""
        return self._ranks.device.type == "cpu"

    @property
    def left_out(self) -> Tensor:
        """Steps of the run left out so far because something was not finite; a float on the device."""
        return self._left_out

    @torch.no_grad()
    def step(self, total_loss: Tensor, number: int) -> Tensor:
        """Takes the step if it may, and returns the gradient's L2 norm before clipping, on the device.

        total_loss: this rank's loss of the whole step, unscaled. number: what the run calls this step, from 1.
        Every rank must call it.
        """
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        bad = ~torch.isfinite(total_loss)
        if self._scaler is not None:
            self._poison_gradients(gradients, torch.maximum(self._failed, self._on_any_rank(bad)))
            self._scaler.unscale_(self._optimizer)
        norm = get_total_norm(gradients).to(self._ranks.device)
        left_out = self._on_any_rank(bad | self._bad_norm(norm))
        self._count(left_out, number)
        if self._clip_val is not None:
            clip_grads_with_norm_(self._parameters, self._clip_val, norm)
        self._step_unless(torch.maximum(self._failed, left_out))
        return norm

    def newly_left_out(self) -> list[int]:
        """The numbers of the steps left out since this was asked last, the same on every rank: see `non_finite_since`.

        With the one that exceeded the budget, if there was one, as the last.
        """
        unread, self._unread = self._unread, []
        if not unread:
            return []
        verdicts = torch.stack([verdict for _, verdict in unread]).tolist()
        numbers = [number for (number, _), verdict in zip(unread, verdicts, strict=True) if verdict]
        if numbers and self._failed.item():
            self._first_failed_step = numbers[-1]
        return numbers

    def non_finite_since(self) -> int | None:
        """The number of the step that exceeded the budget, the same on every rank; None if there is none.

        `newly_left_out` must be asked before. That waits for the device unless `is_cheap_to_ask`: ask at log intervals,
        and before a checkpoint is written, since steps after the bad one count as done although they were left out.
        """
        return self._first_failed_step

    def state_dict(self) -> dict[str, Any]:
        """How many steps were left out, and the loss scaler's state if there is one; plain numbers."""
        scaler = {} if self._scaler is None else {"scaler": self._scaler.state_dict()}
        return {"left_out": int(self._left_out.item()), **scaler}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts a `state_dict` back. A run that changed its precision starts with a fresh scaler, or none."""
        self._left_out.fill_(state.get("left_out", 0))
        if self._scaler is not None and "scaler" in state:
            self._scaler.load_state_dict(state["scaler"])

    def _on_any_rank(self, bad: Tensor) -> Tensor:
        """1 on every rank if `bad` is true on one of them, else 0."""
        return self._ranks.max_tensor(bad.to(self._failed))

    def _count(self, left_out: Tensor, number: int) -> None:
        """Takes note of a step's verdict; fails for good when it exceeds the budget, and counts no more then."""
        # Arithmetic, not torch.where: that would copy its Python number to the device, and wait.
        counted = left_out * (1 - self._failed)
        self._left_out = self._left_out + counted
        self._failed = torch.maximum(self._failed, counted * (self._left_out > self.budget))
        self._unread.append((number, counted))

    def _bad_norm(self, norm: Tensor) -> Tensor:
        """Whether this gradient norm is an error, rather than something the loss scaler will deal with."""
        overflow = ~torch.isfinite(norm)
        if self._scaler is None:
            return overflow
        self._overflows = (self._overflows + 1) * overflow
        return self._overflows >= MAX_OVERFLOWS

    @staticmethod
    def _poison_gradients(gradients: list[Tensor], left_out: Tensor) -> None:
        """Makes one gradient infinite if left_out is 1: the scaler leaves a step out for its gradients only."""
        zero_or_infinite = left_out / (1 - left_out)
        min(gradients, key=Tensor.numel).add_(zero_or_infinite)

    def _step_unless(self, left_out: Tensor) -> None:
        if self._scaler is not None:
            self._scaler.step(self._optimizer)
            self._scaler.update()
        elif self._fused:
            optimizer: Any = self._optimizer  # the two attributes are torch's protocol for fused kernels, but untyped
            optimizer.grad_scale, optimizer.found_inf = None, left_out
            optimizer.step()
        elif not left_out.item():
            self._optimizer.step()
