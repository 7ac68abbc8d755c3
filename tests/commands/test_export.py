"""export.py: a slim file that stock sam2 loads and tracks with, or no file at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from sam2_training.cli import main
from sam2_training.core.outputs import MANIFEST
from sam2_training.vos.export import export_weights
from sam2_training.vos.export.stock_comparison import comparison_clip, track_with_stock
from sam2_training.vos.model import weights as weights_module
from sam2_training.vos.model.config import ModelConfig
from sam2_training.vos.model.names import resolve_network

from tests.tiny_checkpoint import CPU, SETTINGS, run_script, save_tiny

TINY = ModelConfig(name="architecture/tiny.yaml", image_size=64)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a run leaves it: with much besides weights."""
    path = save_tiny(tmp_path_factory.mktemp("run") / "checkpoint.pt")
    weights = torch.load(path, weights_only=True)["model"]
    torch.save({"model": weights, "optimizer": {"exp_avg": torch.zeros(2_000_000)}, "step": 7}, path)
    return path


def call(checkpoint: Path, output: Path, *more: str) -> int:
    return main(["export", *SETTINGS, CPU, "--checkpoint", str(checkpoint), "--output", str(output), *more])


@pytest.mark.slow
def test_exported_file_is_slim_has_stocks_form_and_the_printed_hash(checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "slim.pt"
    ended = run_script("export.py", *SETTINGS, "--checkpoint", str(checkpoint), "--output", str(output), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    assert hashlib.sha256(output.read_bytes()).hexdigest() in ended.stdout
    assert f"{checkpoint.stat().st_size:,} bytes" in ended.stdout
    assert f"{output.stat().st_size:,} bytes" in ended.stdout
    assert output.stat().st_size < checkpoint.stat().st_size - 7_000_000
    before, after = torch.load(checkpoint, weights_only=True), torch.load(output, weights_only=True)
    assert list(after) == ["model"]
    assert after["model"].keys() == before["model"].keys()
    assert all(torch.equal(after["model"][name], before["model"][name]) for name in after["model"])
    assert sorted(path.name for path in output.parent.iterdir()) == [MANIFEST, "slim.pt"]
    assert call(checkpoint, tmp_path / "again.pt") == 0
    assert (tmp_path / "again.pt").read_bytes() == output.read_bytes()


def test_fp16_halves_the_file_and_states_what_it_costs(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half, num_bytes = (
        tmp_path / "half.pt",
        sum(4 * tensor.numel() for tensor in torch.load(checkpoint, weights_only=True)["model"].values()),
    )
    assert call(checkpoint, half, "--fp16") == 0
    assert 0.5 < half.stat().st_size / num_bytes < 0.51
    assert all(tensor.dtype == torch.float16 for tensor in torch.load(half, weights_only=True)["model"].values())
    assert "mean IoU with the masks of the unrounded weights: 0.99" in capsys.readouterr().out


def test_the_comparison_sees_masks_and_tells_weights_apart(tmp_path: Path) -> None:
    """What it compares is neither empty nor independent of the weights."""
    found = []
    for seed in (0, 1):
        path = save_tiny(tmp_path / f"{seed}.pt", seed)
        with comparison_clip() as clip:
            found.append(track_with_stock(path, resolve_network(TINY.name), TINY, clip))
    assert found[0].masks.shape == (3, 2, 128, 128)
    assert found[0].masks.any((2, 3)).all()
    assert found[0].mean_iou(found[1]) < 0.9
    assert found[0].mean_iou(found[0]) == 1.0


def test_a_file_that_was_written_wrong_gets_no_name(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write_wrong(path: Path, weights: dict[str, torch.Tensor], safetensors: bool) -> None:
        name = "image_encoder.trunk.patch_embed.proj.weight"
        torch.save({"model": {**weights, name: weights[name] * 1.01}}, path)

    monkeypatch.setattr(export_weights, "_write", write_wrong)
    (tmp_path / "out").mkdir()
    assert call(checkpoint, tmp_path / "out" / "slim.pt") == 4
    assert "does not give the same masks" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_that_lacks_a_weight_gets_no_name(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write_short(path: Path, weights: dict[str, torch.Tensor], safetensors: bool) -> None:
        torch.save({"model": dict(list(weights.items())[1:])}, path)

    monkeypatch.setattr(export_weights, "_write", write_short)
    assert call(checkpoint, tmp_path / "slim.pt") == 4
    assert "stock sam2 does not load the exported file" in capsys.readouterr().err
    assert not (tmp_path / "slim.pt").exists()


def test_weights_for_another_normalization_are_of_no_use_to_stock(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(checkpoint, tmp_path / "slim.pt", "transforms.mean=[0.5,0.5,0.5]") == 4
    assert "transforms.mean=[0.5, 0.5, 0.5]" in capsys.readouterr().err
    assert not (tmp_path / "slim.pt").exists()


def test_numbers_too_large_for_fp16_are_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["model"]["no_mem_embed"][0, 0, 0] = 1e5
    torch.save({"model": content["model"]}, tmp_path / "large.pt")
    assert call(tmp_path / "large.pt", tmp_path / "slim.pt", "--fp16") == 4
    assert "no_mem_embed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "more", "code", "message"),
    [
        ("checkpoint.pt", (), 2, "is the checkpoint itself"),
        ("slim.bin", ("--safetensors",), 2, "its name must end with .safetensors"),
        ("slim.safetensors", (), 2, "add --safetensors"),
        ("checkpoint.pt/slim.pt", (), 2, "cannot be written"),
    ],
)
def test_what_cannot_be_exported_is_said(
    name: str,
    more: tuple[str, ...],
    code: int,
    message: str,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export_weights, "require_safetensors", lambda what: None)
    content = checkpoint.read_bytes()
    assert call(checkpoint, checkpoint.parent / name, *more) == code
    assert message in capsys.readouterr().err
    assert checkpoint.read_bytes() == content


def test_a_missing_checkpoint_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(tmp_path / "none.pt", tmp_path / "slim.pt") == 4
    assert f"{tmp_path / 'none.pt'} does not exist" in capsys.readouterr().err


def test_without_the_package_safetensors_its_name_is_said(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights_module, "find_spec", lambda name: None)
    assert call(checkpoint, tmp_path / "slim.safetensors", "--safetensors") == 2
    assert "pip install safetensors" in capsys.readouterr().err


@pytest.mark.slow
def test_safetensors_are_verified_and_can_be_exported_again(checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    assert call(checkpoint, tmp_path / "slim.safetensors", "--safetensors") == 0
    assert call(tmp_path / "slim.safetensors", tmp_path / "back.pt") == 0
    before, after = torch.load(checkpoint, weights_only=True), torch.load(tmp_path / "back.pt", weights_only=True)
    assert all(torch.equal(after["model"][name], before["model"][name]) for name in before["model"])


def test_safetensors_of_another_network_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file({"no_mem_embed": torch.zeros(1, 1, 128)}, str(tmp_path / "other.safetensors"))
    (tmp_path / "text.safetensors").write_text("no tensors")
    for name, message in {"other": "weights of another network", "text": "is not a safetensors file"}.items():
        assert call(tmp_path / f"{name}.safetensors", tmp_path / "slim.pt") == 4
        assert message in capsys.readouterr().err
