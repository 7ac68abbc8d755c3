"""The step module as a run uses it: under DistributedDataParallel on two ranks, and compiled."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sam2_training.vos.loss_config import LossConfig
from sam2_training.vos.losses import clip_loss
from sam2_training.vos.model.build import build_network
from sam2_training.vos.model.config import ModelConfig
from sam2_training.vos.model.prompts import mask_plan
from sam2_training.vos.model.tracker import TrainableSAM2
from torch import Tensor, nn

from tests.vos.moving_clips import make_batch
from tests.waiting import WAIT_SECONDS

PROGRAM = Path(__file__).with_name("two_rank_step.py")


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, str(PROGRAM), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, dict[str, float]] = json.loads((folder / "result.json").read_text())
    return result


@pytest.mark.slow
@pytest.mark.parametrize("case", ["one frame", "masks", "clicks", "nothing on rank 1"])
def test_two_ranks_have_the_gradient_of_one_process_with_both_clips(
    two_ranks: dict[str, dict[str, float]], case: str
) -> None:
    found = two_ranks[case]
    assert found["size"] > 0
    assert found["error"] < 1e-5
    assert (found["memory_attention"] > 0) == (case != "one frame"), "the cases must use different parts"


def loss_and_gradients(model: TrainableSAM2) -> tuple[Tensor, dict[str, Tensor]]:
    batch = make_batch(2, (1,))
    model.zero_grad()
    plan = mask_plan(2)
    loss = clip_loss(model.eval().track(batch, plan), batch, LossConfig(), 1.0)["total"]
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.slow
def test_compiled_parts_are_whole_graphs_with_equal_results(
    network: TrainableSAM2, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced with aot_eager: no C compiler needed. fullgraph: a graph break would be an error."""
    compile_module, compiled = nn.Module.compile, []

    def traced(module: nn.Module) -> None:
        compiled.append(module)
        compile_module(module, backend="aot_eager", fullgraph=True)

    monkeypatch.setattr(nn.Module, "compile", traced)
    expected_loss, expected = loss_and_gradients(network)
    network.compile_parts()
    torch._dynamo.reset()
    loss, found = loss_and_gradients(network)
    assert network.memory_attention in compiled
    assert network.image_encoder in compiled or network.image_encoder.trunk in compiled
    assert torch.allclose(loss, expected_loss, rtol=1e-5)
    assert found.keys() == expected.keys()
    scale = torch.stack([gradient.norm() for gradient in expected.values()]).norm()
    assert all((found[name] - expected[name]).norm() < 1e-4 * scale for name in expected)


def test_compilation_leaves_the_names_bare(network: TrainableSAM2) -> None:
    compiled = build_network(ModelConfig(name="architecture/tiny.yaml", compile=True, image_size=64))
    assert compiled.state_dict().keys() == network.state_dict().keys()
    assert compiled.memory_attention._compiled_call_impl is not None
    assert network.memory_attention._compiled_call_impl is None
