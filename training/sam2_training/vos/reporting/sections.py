"""The report of a run as sections: warnings, film strips, scores before and after, curves, data, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from sam2_training.data.label_report import LabelReport
from sam2_training.engine.task import RunSummary
from sam2_training.report.curves import score_chart, training_charts
from sam2_training.report.data import (
    ChartSection,
    DataSection,
    DatasetSummary,
    Headline,
    NoteSection,
    PictureSection,
    ProvenanceSection,
    Report,
    ReportPicture,
    ScoreSection,
    ScoreTable,
    Section,
    WarningSection,
    worse_warnings,
)
from sam2_training.vos.config import VosConfig
from sam2_training.vos.evaluation.measured_set import MeasuredSet
from sam2_training.vos.metrics.names import PREFIXES, RETENTION, TITLES, VALIDATION
from sam2_training.vos.reporting.score_tables import score_table, start_stays_best

RELOAD_SECONDS = 60
MAIN_TITLE = next(iter(TITLES.values()))


def run_report(
    name: str,
    config: VosConfig,
    sets: Mapping[str, MeasuredSet],
    datasets: Sequence[DatasetSummary],
    strips: Sequence[ReportPicture],
    summary: RunSummary,
    labels: Mapping[str, LabelReport] | None = None,
) -> Report:
    """The report of a run as it is now.

    datasets: of `describe_datasets`; strips: of `film_strips`. labels: {name of a dataset: what its masks say}.
    """
    tables = {set_name: score_table(set_name, videos, summary) for set_name, videos in sets.items()}
    missing = _why_no_scores(config, sets)
    seconds = sum(float(row["step_seconds"]) for row in summary.metrics) if summary.metrics else None
    return Report(
        title=name,
        status=summary.status,
        step=summary.step,
        written=datetime.now(UTC).isoformat(timespec="seconds"),
        note=summary.note,
        max_steps=summary.max_steps,
        elapsed_seconds=seconds,
        headline=Headline(MAIN_TITLE, tables.get(VALIDATION)),
        sections=[
            *warning_sections(tables, start_stays_best(config, summary)),
            *label_warnings(labels or {}),
            *strip_sections(strips),
            *score_sections(tables, missing),
            *chart_sections(summary),
            *label_sections(labels or {}),
            *([DataSection(datasets)] if datasets else []),
            *([ProvenanceSection(summary.provenance)] if summary.provenance else []),
        ],
        reload_seconds=RELOAD_SECONDS if summary.status == "running" else None,
    )


def warning_sections(tables: Mapping[str, ScoreTable | None], first: Sequence[str] = ()) -> list[Section]:
    """What got worse on any set, after the sentences in `first`; no section if there is nothing to say."""
    worse = worse_warnings([table for table in tables.values() if table is not None])
    return [WarningSection([*first, *worse])] if first or worse else []


def label_warnings(labels: Mapping[str, LabelReport]) -> list[Section]:
    """What is suspicious in the masks of the datasets; no section if nothing is."""
    sentences = [f"{_sentence(name)}: {line}" for name, report in labels.items() for line in report.warnings]
    return [WarningSection(sentences, "Masks to look at", "mask-warnings")] if sentences else []


def label_sections(labels: Mapping[str, LabelReport]) -> list[Section]:
    """How the values in mask files are read; no section without mask files."""
    lines = [f"{_sentence(name)}: {line}" for name, report in labels.items() for line in report.lines]
    return [NoteSection("How masks are read", "masks", "Masks", lines)] if lines else []


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def strip_sections(strips: Sequence[ReportPicture]) -> list[Section]:
    """The film strips; no section without any."""
    return (
        [
            PictureSection(
                "Clips with the highest, the median and the lowest J&F", "clips", "Clips", strips, "film strip"
            )
        ]
        if strips
        else []
    )


def score_sections(tables: Mapping[str, ScoreTable | None], missing: str) -> list[Section]:
    """Scores of the validation set, or why there are none, and of the retention set if there are some."""
    validation, retention = tables.get(VALIDATION), tables.get(RETENTION)
    named = f": {validation.name}" if validation is not None else ""
    link = "Before and after"
    sections: list[Section] = [ScoreSection(f"{link}{named}", "comparison", link, validation, missing)]
    if retention is not None:
        heading = f"What must not get worse: {retention.name}"
        sections.append(ScoreSection(heading, "retention", "Retention set", retention))
    return sections


def chart_sections(summary: RunSummary) -> list[Section]:
    """Curves of validations and training; no section before there are values."""
    prefix = PREFIXES[VALIDATION]
    lines = {f"{prefix}{name}": title for name, title in TITLES.items()}
    charts = [
        *score_chart(f"{MAIN_TITLE} on the validation set", summary.history, lines),
        *training_charts(summary.metrics, summary.columns, summary.history, prefix),
    ]
    return [ChartSection(charts)] if charts else []


def _why_no_scores(config: VosConfig, sets: Mapping[str, MeasuredSet]) -> str:
    if VALIDATION not in sets:
        return (
            "No videos were held out for validation: set dataset.val_fraction or val_dataset to measure J&F. "
            "training/evaluate.py compares the weights with any others."
        )
    if config.trainer.limit_val_batches == 0:
        return "Validation is switched off (trainer.limit_val_batches=0)."
    return "No validation has run yet."
