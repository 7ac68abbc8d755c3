"""The table of an evaluation, compared with a baseline, and conditions on its means."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sam2_training.core.errors import ConfigError
from sam2_training.core.text import shown
from sam2_training.report.data import WORSE_TOLERANCE
from sam2_training.vos.evaluation.result import EvaluationResult, Row
from sam2_training.vos.metrics.names import SCORE_NAMES, TITLES

DELTA = "delta_"
"""Prefix of a metric's difference to the baseline."""
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True)
class Requirement:
    """A condition on one mean, such as j_and_f>=0.75."""

    metric: str
    comparison: str
    limit: float

    @classmethod
    def parse(cls, text: str, has_baseline: bool) -> Requirement:
        """Parses a condition; spaces do not matter. Raises ConfigError saying what is accepted."""
        found = re.fullmatch(r"\s*(\w+)\s*(>=|<=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*", text)
        metric = found.group(1) if found else ""
        if found is None or metric.removeprefix(DELTA) not in SCORE_NAMES:
            raise ConfigError(
                f"--require {text!r} is not a condition; write <metric><comparison><number>, such as j_and_f>=0.75; "
                f"metrics: {', '.join(SCORE_NAMES)}, and with --baseline {DELTA}<metric>; comparisons: >= > <= <"
            )
        if metric.startswith(DELTA) and not has_baseline:
            raise ConfigError(f"--require {text!r} is about a difference: give --baseline, the weights to compare with")
        return cls(metric, found.group(2), float(found.group(3)))

    def __str__(self) -> str:
        return f"{self.metric}{self.comparison}{self.limit:g}"

    def holds(self, numbers: Mapping[str, float]) -> bool:
        """Whether the metric exists and satisfies the condition."""
        found = numbers.get(self.metric)
        return found is not None and _COMPARISONS[self.comparison](found, self.limit)

    def verdict(self, numbers: Mapping[str, float]) -> str:
        """A sentence on whether the condition holds."""
        found = numbers.get(self.metric)
        was = "is absent, because no object has it" if found is None else f"is {found:.4f}"
        return f"--require {self}: {'holds' if self.holds(numbers) else 'does not hold'}; {self.metric} {was}"


def means(result: EvaluationResult, baseline: EvaluationResult | None) -> dict[str, float]:
    """The means that exist, by name; with a baseline also their differences to its means, as delta_<name>."""
    numbers = result.numbers()
    if baseline is None:
        return numbers
    before = baseline.numbers()
    return {**numbers, **{f"{DELTA}{name}": numbers[name] - before[name] for name in numbers.keys() & before.keys()}}


def compared_rows(result: EvaluationResult, baseline: EvaluationResult | None) -> list[Row]:
    """`EvaluationResult.rows`; with a baseline each row also has its numbers and the differences."""
    rows = result.rows()
    if baseline is None:
        return rows
    joined: list[Row] = []
    for row, before in zip(rows, baseline.rows(), strict=True):
        for name in SCORE_NAMES:
            row[f"baseline_{name}"] = before[name]
            row[DELTA + name] = _difference(row[name], before[name])
        joined.append(row)
    return joined


def table_lines(result: EvaluationResult, baseline: EvaluationResult | None, dash: str = "–") -> list[str]:
    """The table as lines: video, object, J, F, J&F, difference to the baseline's J&F, mean; `dash` for what is absent.

    The reason for an absent number stands at the end of its line.
    """
    columns = ["j", "f", "j_and_f", *([f"{DELTA}j_and_f"] if baseline else [])]
    titles = [TITLES.get(name, "delta") for name in columns]
    rows = compared_rows(result, baseline)
    mean, numbers = result.mean(), means(result, baseline)
    last = f"mean of {mean.num_objects} object(s)"
    width = max(len("video"), len(last) - 8, *(len(shown(str(row["video"]))) for row in rows))
    lines = [f"{'video':{width}}  object" + "".join(f"  {title:>6}" for title in titles)]
    for row in rows:
        cells = "".join(f"  {_cell(row[name], name, dash):>6}" for name in columns)
        reason = f"  ({row['reason']})" if row["reason"] and row["j"] is None else ""
        folder = f"  folder {shown(str(row['folder']))}" if row.get("folder") else ""
        lines.append(f"{shown(str(row['video'])):{width}}  {row['object']!s:>6}{cells}{folder}{reason}")
    cells = "".join(f"  {_cell(numbers.get(name), name, dash):>6}" for name in columns)
    left_out = f"  ({mean.num_without_score} without a score)" if mean.num_without_score else ""
    return [*lines, f"{last:{width + 8}}{cells}{left_out}"]


def worse_objects(result: EvaluationResult, baseline: EvaluationResult) -> list[str]:
    """ "<video> object <id>" of each whose J&F is lower than with the baseline by more than WORSE_TOLERANCE."""
    rows = compared_rows(result, baseline)
    return [
        f"{row['video']} object {row['object']}"
        for row in rows
        if isinstance(delta := row[f"{DELTA}j_and_f"], float) and round(delta, 3) < -WORSE_TOLERANCE
    ]


def _difference(after: str | float | None, before: str | float | None) -> float | None:
    return float(after) - float(before) if after is not None and before is not None else None


def _cell(value: str | float | None, name: str, dash: str) -> str:
    if value is None:
        return dash
    return f"{value:+.3f}" if name.startswith(DELTA) else f"{value:.3f}"
