"""Weights & Biases; the extra `wandb`. Runs in a process of its own: see service_process.py."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2_training.engine.logging.sink import Values

if TYPE_CHECKING:
    from sam2_training.engine.task import Picture

STEP = "step"
"""The axis of all values. W&B's own step only grows, and counts the calls."""
SECONDS_TO_OPEN = 60.0


class WandbLogger:
    """Implements `Service`. Files are in <run>/wandb; `wandb sync` sends those of an offline run."""

    def __init__(self, config: dict[str, Any], folder: Path, run_id: str | None) -> None:
        import wandb

        self._wandb, settings = wandb, config["logging"]
        self.run_id = run_id or secrets.token_hex(8)
        self._run = wandb.init(
            project=settings["project"],
            name=settings["name"],
            id=self.run_id,
            resume="allow",
            mode=settings["mode"],
            # W&B appends /wandb itself.
            dir=folder.parent,
            config=config,
            allow_val_change=True,
            save_code=False,
            settings=wandb.Settings(console="off", init_timeout=SECONDS_TO_OPEN, disable_git=True),
        )
        self._run.define_metric(STEP)
        self._run.define_metric("*", step_metric=STEP)
        self.place = self._run.url or f"offline; send it with: wandb sync {Path(self._run.dir).parent}"

    def log(self, step: int, values: Values) -> None:
        self._run.log({STEP: step, **values})

    def picture(self, name: str, picture: Picture, step: int) -> None:
        self._run.log({STEP: step, f"pictures/{name}": self._wandb.Image(picture)})

    def summary(self, step: int, values: Values) -> None:
        self._run.summary.update({f"final/{name}": value for name, value in values.items()})

    def close(self) -> None:
        self._run.finish()


SERVICE = WandbLogger
"""What service_process.py opens."""
