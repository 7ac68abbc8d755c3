"""Adapters and averaged weights in a real run: the same bits after a kill, plain weights as the result, small files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sam2_training.vos.export.stock_comparison import comparison_clip, track_with_ours, track_with_stock
from sam2_training.vos.model.build import build_network
from sam2_training.vos.model.config import LoraConfig, ModelConfig
from sam2_training.vos.model.lora import add_lora
from sam2_training.vos.model.names import resolve_network

from tests.e2e.conftest import Run
from tests.e2e.test_resume import wait_until_gone
from tests.places import REPOSITORY
from tests.tiny_checkpoint import save_tiny
from tests.waiting import WAIT_SECONDS

pytestmark = pytest.mark.slow

TARGETS = ("image_encoder.trunk.blocks.*.attn", "memory_attention", "sam_mask_decoder.transformer")
LORA = (f"model.lora.targets=[{','.join(TARGETS)}]", "model.lora.rank=4", "model.lora.alpha=8")
FAST = ("scratch.base_lr=5e-2", "scratch.vision_lr=5e-2", "trainer.gradient_clip_val=null", "optimizer.layer_decay=1")
"""So fast that adapters change the masks within a few steps."""


@pytest.mark.parametrize("ranks", ["1", "2"])
def test_a_killed_run_with_lora_and_average_ends_with_the_same_bits(new_run: Callable[..., Run], ranks: str) -> None:
    how = ("--num-gpus", ranks, *LORA, "model.lora.dropout=0.2", "trainer.ema_decay=0.9", "scratch.num_epochs=4")
    whole, killed = new_run("whole", *how), new_run("killed", *how)
    ended = whole.go()
    assert ended.code == 0, ended.output
    assert "LoRA: rank 4, alpha 8, dropout 0.2" in ended.output
    process = killed.start()
    killed.wait_for_step(process, 2)
    killed.kill(process)
    wait_until_gone(killed)
    ended = killed.go()
    assert ended.code == 0, ended.output
    assert "continues at step" in ended.output
    assert killed.state_hash() == whole.state_hash()
    assert killed.loss_curve() == whole.loss_curve()
    content = torch.load(whole.checkpoint, weights_only=True)
    assert all(name.endswith(("lora_A", "lora_B")) for name in content["ema"])
    assert set(content["optimizer"]["names"]) == set(content["ema"]), "adapters alone learn"


@pytest.fixture
def run(new_run: Callable[..., Run], tmp_path: Path) -> Run:
    """A finished run with adapters, on weights in base.pt."""
    made = new_run("lora", *LORA, *FAST, f"model.checkpoint={save_tiny(tmp_path / 'base.pt')}", "scratch.num_epochs=3")
    ended = made.go()
    assert ended.code == 0, ended.output
    return made


def command(verb: str, run: Run, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            str(REPOSITORY / "training" / "run.py"),
            verb,
            *run.arguments,
            "trainer.accelerator=cpu",
            *arguments,
        ],
        cwd=run.folder.parent,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )


def unmerged(content: dict[str, Any]) -> Any:
    """The network as it trained: with its adapters beside the weights."""
    network = build_network(ModelConfig(name="architecture/tiny.yaml", image_size=64))
    add_lora(network, LoraConfig(targets=TARGETS, rank=4, alpha=8))
    network.load_state_dict({**content["model"], **content["learning"]})
    network.use_stock_image_encoder()
    return network.eval()


def test_stock_loads_the_merged_checkpoint_strictly_and_tracks_as_the_unmerged_network(
    run: Run, tmp_path: Path
) -> None:
    """Acceptance: logits within 1e-4, mask IoU at least 0.999."""
    content = torch.load(run.checkpoint, weights_only=True)
    network, config = resolve_network("architecture/tiny.yaml"), ModelConfig("architecture/tiny.yaml", image_size=64)
    with comparison_clip() as clip:
        merged = track_with_stock(run.checkpoint, network, config, clip)  # loads strictly
        before = track_with_stock(tmp_path / "base.pt", network, config, clip)
        ours = track_with_ours(unmerged(content), clip)
    assert ours.mean_iou(merged) >= 0.999
    assert np.abs(ours.presence - merged.presence).max() <= 1e-4
    assert merged.mean_iou(before) < 0.999, "adapters must show in the masks, or this proves nothing"


def test_adapters_alone_are_a_small_file_and_with_their_base_the_same_network(run: Run, tmp_path: Path) -> None:
    small, whole = tmp_path / "adapters.pt", tmp_path / "whole.pt"
    ended = command("export", run, "--checkpoint", str(run.checkpoint), "--adapters", "--output", str(small))
    assert ended.returncode == 0, ended.stderr
    assert f"{small.stat().st_size:,} bytes" in ended.stdout
    assert small.stat().st_size < 0.05 * (tmp_path / "base.pt").stat().st_size
    ended = command("export", run, "--checkpoint", str(small), "--output", str(whole))
    assert ended.returncode == 0, ended.stderr
    merged, expected = (torch.load(path, weights_only=True)["model"] for path in (whole, run.checkpoint))
    assert merged.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in merged.items())
    scores = []
    (tmp_path / "one.txt").write_text("dogs-jump\n")
    for number, checkpoint in enumerate((run.checkpoint, small)):
        output = tmp_path / f"scores{number}"
        split = ("--split", str(tmp_path / "one.txt"))
        ended = command("evaluate", run, "--checkpoint", str(checkpoint), "--output", str(output), *split)
        assert ended.returncode == 0, ended.stderr
        scores.append(json.loads((output / "scores.json").read_text())["mean"])
    assert scores[0] == scores[1]

    ended = command("export", run, "--checkpoint", str(tmp_path / "base.pt"), "--adapters", "--output", str(whole))
    assert ended.returncode == 4
    assert "holds no adapters" in ended.stderr
    other = f"model.checkpoint={save_tiny(tmp_path / 'other.pt', seed=1)}"
    ended = command("export", run, "--checkpoint", str(small), "--output", str(whole), other)
    assert ended.returncode == 4
    assert "adapters of other weights" in ended.stderr
    ended = command("export", run, "--checkpoint", str(small), "--output", str(whole), "model.checkpoint=null")
    assert ended.returncode == 4
    assert "model.checkpoint is null" in ended.stderr
    ended = command("train", run, f"model.checkpoint={small}", f"launcher.experiment_log_dir={tmp_path / 'new'}")
    assert ended.returncode == 4
    assert "holds adapters alone" in ended.stderr
