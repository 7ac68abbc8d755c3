"""The weights of a run: those that learn, and those that it is measured by and leaves as its result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from sam2_training.core.errors import CheckpointError
from sam2_training.core.text import some
from sam2_training.engine.task import ModelT

LEARNING = "learning"
"""Key of a checkpoint: what training continues from where that is not what "model" holds."""
AVERAGE = "ema"
"""Key of a checkpoint: the average of the parameters that learn."""


class RunWeights(Generic[ModelT]):
    """A network while it trains, and what of it is saved.

    The result is the network itself or, with trainer.ema_decay, the exponential moving average of what learns: of this
    a validation measures, and this is "model" in every file, in the form that the task gives it.
    """

    def __init__(
        self, model: ModelT, saved_form: Callable[[ModelT], Mapping[str, Any]], ema_decay: float | None = None
    ) -> None:
        """saved_form: `Task.saved_form`. ema_decay: trainer.ema_decay."""
        self.model, self._saved_form, self._decay = model, saved_form, ema_decay
        self._average: dict[str, Tensor] = {}
        """float32, by parameter name; empty without ema_decay."""
        self._start_average()

    def after_step(self, step: int) -> None:
        """Follows the optimizer: to be called after each of its steps, counted from 1.

        average = d * average + (1 - d) * parameter with d = min(ema_decay, (1 + step) / (10 + step)): at first the
        average follows quickly, so that a short run is not measured by where it started. (The rule of TensorFlow's
        ExponentialMovingAverage with num_updates.)
        """
        if self._decay is None:
            return
        learning = self._learning()
        update = get_ema_multi_avg_fn(min(self._decay, (1 + step) / (10 + step)))  # type: ignore[no-untyped-call]
        update(list(self._average.values()), [learning[name].data.float() for name in self._average], None)

    @contextmanager
    def as_result(self) -> Iterator[ModelT]:
        """The network with the result's weights in it, for as long as the context lasts."""
        learning = self._learning() if self._average else {}
        kept = {name: parameter.data for name, parameter in learning.items()}
        try:
            for name, parameter in learning.items():
                parameter.data = self._average[name].to(parameter.dtype)
            yield self.model
        finally:
            for name, parameter in learning.items():
                parameter.data = kept[name]

    def result(self) -> dict[str, Any]:
        """What a file holds of the result: {"model": {name: tensor}} and what the task adds."""
        with self.as_result() as model:
            return dict(self._saved_form(model))

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds: `result`, and whatever else is needed to continue."""
        content = self.result()
        shared = {name: tensor.data_ptr() for name, tensor in content["model"].items()}
        state = self.model.state_dict()
        own = {name: tensor for name, tensor in state.items() if shared.get(name) != tensor.data_ptr()}
        content |= {LEARNING: own} if own else {}
        return content | ({AVERAGE: dict(self._average)} if self._average else {})

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Puts a `state` back, bit for bit. An average that it lacks starts at the weights.

        Raises CheckpointError if it is of another network.
        """
        try:
            self.model.load_state_dict({**saved["model"], **saved.get(LEARNING, {})})
        except RuntimeError as error:  # adapters that are new, or an architecture that was not recorded
            reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
            raise CheckpointError(f"the checkpoint's weights are of another network: {reason}") from error
        self._start_average()
        if not self._average or AVERAGE not in saved:
            return
        found: dict[str, Tensor] = saved[AVERAGE]
        missing = sorted(self._average.keys() ^ found.keys())
        if missing:
            raise CheckpointError(f"the checkpoint averages other parameters than this run trains: {some(missing, 3)}")
        for name, tensor in self._average.items():
            tensor.copy_(found[name])

    def _start_average(self) -> None:
        if self._decay is not None:
            self._average = {name: parameter.data.float().clone() for name, parameter in self._learning().items()}

    def _learning(self) -> dict[str, torch.nn.Parameter]:
        return {name: parameter for name, parameter in self.model.named_parameters() if parameter.requires_grad}
