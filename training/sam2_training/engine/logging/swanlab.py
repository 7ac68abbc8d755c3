"""SwanLab; the extra `swanlab`. Runs in a process of its own: see service_process.py."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2_training.engine.logging.sink import Values

if TYPE_CHECKING:
    from sam2_training.engine.task import Picture


class SwanLabLogger:
    """Implements `Service`. Files are in <run>/swanlab; `swanlab sync` sends those of an offline run."""

    def __init__(self, config: dict[str, Any], folder: Path, run_id: str | None) -> None:
        import swanlab

        self._swanlab, settings = swanlab, config["logging"]
        self.run_id = run_id or secrets.token_hex(8)
        self._run = swanlab.init(
            project=settings["project"],
            name=settings["name"],
            id=self.run_id,
            resume="allow",
            mode=settings["mode"],
            log_dir=str(folder),
            config=config,
        )
        is_online = settings["mode"] == "online"
        self.place = self._run.url if is_online else f"offline; send it with: swanlab sync {folder}/run-*-{self.run_id}"

    def log(self, step: int, values: Values) -> None:
        self._run.log(dict(values), step=step)

    def picture(self, name: str, picture: Picture, step: int) -> None:
        self._run.log({f"pictures/{name}": self._swanlab.Image(picture)}, step=step)

    def summary(self, step: int, values: Values) -> None:
        """As values of the last step: SwanLab has no summary of its own."""
        self._run.log({f"final/{name}": value for name, value in values.items()}, step=step)

    def close(self) -> None:
        self._run.finish()


SERVICE = SwanLabLogger
"""What service_process.py opens."""
