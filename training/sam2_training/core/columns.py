"""What the columns of metrics.csv and the values of a validation mean, for whoever writes or draws them."""

from __future__ import annotations

from typing import Literal

ColumnKind = Literal["step", "loss", "score", "gradient", "rate", "count", "time", "memory"]
"""step: where in the run; loss: less is better; score: more is better; gradient: a norm; rate: of learning; count: of
samples in a step; time: seconds; memory: MiB."""
