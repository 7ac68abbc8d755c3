"""MLflow; the extra `mlflow`. Runs in a process of its own: see service_process.py."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2_training.core.schema import flatten
from sam2_training.engine.logging.sink import Values

if TYPE_CHECKING:
    from sam2_training.engine.task import Picture

NOT_IN_NAMES = re.compile(r"[^\w\-. :/]", re.ASCII)
"""MLflow refuses these characters in names; they become underscores."""
PARAMETERS_AT_ONCE = 100
"""The most that MLflow takes in one call."""


class MlflowLogger:
    """Implements `Service`. Without a server, runs are in <run>/mlflow/mlflow.db."""

    def __init__(self, config: dict[str, Any], folder: Path, run_id: str | None) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        settings = config["logging"]
        own = f"sqlite:///{folder.resolve()}/mlflow.db"
        uri = settings["mlflow_tracking_uri"] or os.environ.get("MLFLOW_TRACKING_URI") or own
        self._client = MlflowClient(tracking_uri=uri)
        if run_id is None:
            experiment = self._experiment(settings["project"], folder if uri == own else None)
            self.run_id = self._client.create_run(experiment, run_name=settings["name"]).info.run_id
            parameters = [Param(_name(key), str(value)) for key, value in flatten(config).items()]
            for first in range(0, len(parameters), PARAMETERS_AT_ONCE):
                self._client.log_batch(self.run_id, params=parameters[first : first + PARAMETERS_AT_ONCE])
        else:
            self.run_id = run_id
            self._client.update_run(run_id, status="RUNNING")
        self._status = "KILLED"
        """As MLflow calls a run that ends before its last step; it goes on when the run is resumed."""
        self.place = f"{uri}, run {self.run_id}"

    def log(self, step: int, values: Values) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(_name(name), value, now, step) for name, value in values.items()]
        self._client.log_batch(self.run_id, metrics=metrics)

    def picture(self, name: str, picture: Picture, step: int) -> None:
        self._client.log_image(self.run_id, picture, key=_name(name), step=step)

    def summary(self, step: int, values: Values) -> None:
        self.log(step, {f"final/{name}": value for name, value in values.items()})
        self._status = "FINISHED"

    def close(self) -> None:
        self._client.set_terminated(self.run_id, self._status)

    def _experiment(self, name: str, folder: Path | None) -> str:
        """The experiment's id; made if there is none. folder: where its files go, in place of the working folder."""
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        place = None if folder is None else (folder.resolve() / "artifacts").as_uri()
        return str(self._client.create_experiment(name, artifact_location=place))


def _name(name: str) -> str:
    return NOT_IN_NAMES.sub("_", name)


SERVICE = MlflowLogger
"""What service_process.py opens."""
