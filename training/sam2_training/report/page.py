"""Renders a report with its template and style, and writes it as one file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from sam2_training.core.files import write_text
from sam2_training.core.text import rounded_duration, shown, shown_lines
from sam2_training.report.axes import number_text
from sam2_training.report.charts import chart_svg, legend_svg
from sam2_training.report.data import PictureSection, Report, ReportPicture, ScoreRow, ScoreTable
from sam2_training.report.inline_pictures import data_uris

FOLDER = Path(__file__).parent
ABSENT = "–"
EARLIER_STARTS = "earlier_starts"
Uri = tuple[str, int, int]
"""Data URI, width, height."""
MAX_ROWS = 2000
"""Rows of a table on the page, the worst changes first if there are more; the CSV holds all."""


def write_report(path: Path, report: Report) -> None:
    """Writes the report as one HTML file, whole or not at all; a reader never sees half of it. Makes the folder.

    The file needs no network, no script and no other file. Raises OSError when it cannot be written.
    """
    write_text(path, render_report(report))


def render_report(report: Report) -> str:
    """The report as HTML text. All texts in it are escaped; the page's policy also forbids scripts and network."""
    pictures = [
        picture for section in report.sections if isinstance(section, PictureSection) for picture in section.pictures
    ]
    uris = data_uris([picture.picture for picture in pictures])
    return (
        _environment()
        .get_template("page.html")
        .render(
            report=report,
            uris={id(picture): uri for picture, uri in zip(pictures, uris, strict=True) if uri is not None},
            style=Markup((FOLDER / "style.css").read_text(encoding="utf-8")),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "score": score_text,
        "change": change_text,
        "number": number_text,
        "duration": rounded_duration,
        "breakable": _breakable,
        "direction": _direction,
        "percent": lambda share: f"{100 * share:.1f}%",
        "chart": chart_svg,
        "shown_rows": _shown_rows,
        "with_uris": _with_uris,
        "has_reasons": _has_reasons,
        "reason": _reason,
        "largest_change": _largest_change,
        "provenance": _provenance_lines,
    }
    environment.globals["legend_key"] = legend_svg
    return environment


def _shown(value: object) -> object:
    """What the template shows: names in it cannot turn the page's text around."""
    return shown_lines(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def score_text(value: float | None) -> str:
    """A score with three digits, "–" for an absent one."""
    return ABSENT if value is None else f"{value:.3f}"


def change_text(value: float | None) -> str:
    """A difference of scores with its sign, such as "+0.031"; "–" for an absent one."""
    if value is None:
        return ABSENT
    return "±0.000" if round(value, 3) == 0 else f"{value:+.3f}".replace("-", "−")


def _breakable(text: str) -> Markup:
    """The text, escaped, with places where a line may break after / _ - and dots."""
    return Markup(re.sub(r"([/_.-])(?=[^\s/_.-])", r"\1<wbr>", str(escape(shown(text)))))


def _direction(value: float | None) -> str:
    """The class of a change in the style sheet."""
    if value is None or round(value, 3) == 0:
        return "same"
    return "better" if value > 0 else "worse"


def _with_uris(pictures: Sequence[ReportPicture], uris: Mapping[int, Uri]) -> list[tuple[ReportPicture, Uri]]:
    """The pictures that are inside the page's budget, each with its data URI, width and height."""
    return [(picture, uris[id(picture)]) for picture in pictures if id(picture) in uris]


def _shown_rows(table: ScoreTable) -> Sequence[ScoreRow]:
    if len(table.rows) <= MAX_ROWS:
        return table.rows
    return sorted(table.rows, key=lambda row: 0.0 if row.delta is None else row.delta)[:MAX_ROWS]


def _has_reasons(table: ScoreTable) -> bool:
    return bool(_reason(table)) or any(_reason(row) for row in table.rows)


def _reason(row: ScoreRow | ScoreTable) -> str:
    """Why scores are absent, each reason once, and for which weights if only for one."""
    before, after = row.before.reason, row.after.reason
    if before == after:
        return before
    return "; ".join(f"{name}: {text}" for name, text in (("before", before), ("after", after)) if text)


def _largest_change(table: ScoreTable) -> float:
    return max((abs(row.delta) for row in table.rows if row.delta is not None), default=0.0) or 1.0


def _provenance_lines(values: Mapping[str, object]) -> list[tuple[str, str]]:
    """(name, text) of every leaf, nested names joined by " · ", in the given order; None is said to be unknown.

    Earlier starts are left out: the page shows each in a table of its own.
    """
    lines: list[tuple[str, str]] = []
    for name, value in values.items():
        if name == EARLIER_STARTS:
            continue
        title = str(name).replace("_", " ").replace("sha256", "SHA-256")
        if isinstance(value, Mapping) and value:
            lines += [(f"{title} · {inner}", text) for inner, text in _provenance_lines(value)]
        elif isinstance(value, list | tuple | Mapping):
            lines.append((title, " ".join(str(part) for part in value) or "none"))
        else:
            lines.append((title, f"{ABSENT} (not known here)" if value is None else str(value)))
    return lines
