"""What a run would start from: everything that it would refuse before its first step, without starting it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from torch import nn

from sam2_training.core.ranks import Ranks
from sam2_training.vos.config import VosConfig
from sam2_training.vos.model.published import initial_checkpoint
from sam2_training.vos.task import VosTask, describe_network, initial_network


def check_start(
    config: VosConfig, with_data: bool, describe_model: Callable[[nn.Module], Iterable[str]]
) -> Iterator[str]:
    """Lines on network, weights and data; "# " marks a heading. On the CPU; keeps no file.

    Builds the network and loads the weights (names, shapes, finite values); with_data: indexes the videos that are
    trained on and measured. describe_model: the engine's own lines on the network. Raises what a run would raise.
    """
    weights = None if config.checkpoint.resume_from else initial_checkpoint(config.model)
    model = initial_network(config, weights)
    yield "# network"
    yield from describe_network(config, weights, model)
    yield from describe_model(model)
    if with_data:
        yield "# data"
        with tempfile.TemporaryDirectory() as folder:
            yield from VosTask(config, Ranks(), Path(folder)).describe_data()
