"""What learns and what it costs: parameters, bytes of gradients and optimizer, of the checkpoint and of adapters alone.

Usage: trainable_parts.py [--model t ...]. Builds each network from recipe custom_finetune with random weights, takes
one optimizer step on the CPU, and prints a table; nothing depends on data or image size. --write: also into
benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "training"))

from sam2_training.engine.optimizer import build_optimizer, optimizer_state  # noqa: E402
from sam2_training.engine.weights import RunWeights  # noqa: E402
from sam2_training.tasks import load_config  # noqa: E402
from sam2_training.vos.config import VosConfig  # noqa: E402
from sam2_training.vos.model.adapter_files import write_adapters  # noqa: E402
from sam2_training.vos.task import initial_network, network_as_saved  # noqa: E402

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- trainable parts: begin -->", "<!-- trainable parts: end -->"
MIB = 2**20
CHOICES = {
    "full": ["parts=full"],
    "frozen_encoder": ["parts=frozen_encoder"],
    "memory+decoder": ["parts=memory", "model.trainable_modules=memory+decoder"],
    "memory": ["parts=memory"],
    "decoder": ["parts=memory", "model.trainable_modules=decoder"],
    "lora": ["parts=lora"],
}


@dataclass(frozen=True)
class Cost:
    """Of one network with one choice of what learns; bytes."""

    learning: int
    gradients: int
    optimizer: int
    checkpoint: int
    adapters: int | None

    def cells(self, model: str, parts: str) -> list[str]:
        """A row of the table."""
        mib = [self.gradients, self.optimizer, self.checkpoint]
        adapters = "" if self.adapters is None else f"{self.adapters / MIB:.1f}"
        return [model, f"`{parts}`", f"{self.learning:,}", *(f"{number / MIB:.1f}" for number in mib), adapters]


class CountingFile(io.RawIOBase):
    """Takes bytes and keeps their number."""

    def __init__(self) -> None:
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        self.size += memoryview(data).nbytes
        return memoryview(data).nbytes


def cost(model: str, overrides: list[str]) -> Cost:
    """Measures one optimizer step with gradients of zero."""
    given = [f"model={model}", *overrides, "dataset.val_fraction=0", "model.checkpoint=null"]
    config = load_config("custom_finetune", given, VosConfig).config
    network = initial_network(config, None)
    optimizer = build_optimizer(network, config.optimizer, torch.device("cpu"))
    learning = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for parameter in learning:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    gradients = sum(p.grad.numel() * p.grad.element_size() for p in learning if p.grad is not None)
    state = optimizer_state(optimizer)
    tensors = [value for entry in state["state"].values() for value in entry.values() if torch.is_tensor(value)]
    weights = RunWeights(network, network_as_saved(config.model))
    file = CountingFile()
    content = {**weights.state(), "optimizer": state}
    torch.save(content, file)
    adapters = None
    if config.model.lora is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "best.pt"
            torch.save(weights.result(), path)
            write_adapters(str(path), path.with_name("adapters.pt"))
            adapters = path.with_name("adapters.pt").stat().st_size
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return Cost(sum(p.numel() for p in learning), gradients, size, file.size, adapters)


def table(models: list[str]) -> str:
    """Markdown."""
    head = [
        "network",
        "learns",
        "parameters",
        "gradients, MiB",
        "optimizer, MiB",
        "checkpoint, MiB",
        "adapters alone, MiB",
    ]
    rows = [cost(model, overrides).cells(model, parts) for model in models for parts, overrides in CHOICES.items()]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", nargs="+", default=["t", "b+"], help="t, s, b+, l (default: t b+)")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/README.md")
    arguments = parser.parse_args()
    text = table(arguments.model)
    print(text)
    if arguments.write:
        page = README.read_text()
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        README.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
