"""The page's text: complete, escaped, whole, alone, and honest about what is missing."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from sam2_training.pictures.palette import hex_color
from sam2_training.report.data import (
    ChartSection,
    DataSection,
    DatasetSummary,
    Headline,
    Histogram,
    PictureSection,
    ProvenanceSection,
    Report,
    ReportPicture,
    ScoreRow,
    Scores,
    ScoreSection,
    ScoreTable,
    WarningSection,
    worse_warnings,
)
from sam2_training.report.inline_pictures import data_uris
from sam2_training.report.page import MAX_ROWS, change_text, render_report, write_report

from tests.report.sample_report import HOSTILE_NAME, METRICS, charts, comparison, provenance, retention, row, scores

BLOCKS = {"p", "h1", "h2", "li", "dt", "dd", "th", "td", "time"}
VOID = {"meta", "link", "img", "wbr", "br", "hr", "input"}


class Outline(HTMLParser):
    """Elements of a page with their attributes, and its visible text; raises on tags that do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self.text += " " if tag in BLOCKS else ""

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def table_of(rows: list[ScoreRow], before: Scores, after: Scores) -> ScoreTable:
    return ScoreTable("set", METRICS, rows, before, after)


def report(table: ScoreTable | None = None, more: ScoreTable | None = None, **changes: object) -> Report:
    """A report with every kind of section. table, more: in place of the usual one, and a second one."""
    table = table or comparison()
    picture = np.random.default_rng(0).integers(0, 255, (60, 300, 3)).astype(np.uint8)
    strip = ReportPicture("best", HOSTILE_NAME, HOSTILE_NAME, picture, f'"quoted" {HOSTILE_NAME}')
    histogram = Histogram("Clip lengths", ("5", "9"), (1, 1), "frames")
    start = Report(
        title="recipe/one",
        status="finished",
        step=1200,
        written="2025-05-04T09:01:02+00:00",
        elapsed_seconds=2523,
        headline=Headline("J&F", table),
        sections=[
            WarningSection([f"worse: {HOSTILE_NAME}"]),
            PictureSection("Clips", "clips", "Clips", [strip], "film strip"),
            ScoreSection("Before and after", "comparison", "Before and after", table),
            *([ScoreSection("Retention", "retention", "Retention set", more)] if more is not None else []),
            ChartSection(charts(30)),
            DataSection([DatasetSummary(HOSTILE_NAME, {"videos": 2}, [histogram])]),
            ProvenanceSection({**provenance(), HOSTILE_NAME: HOSTILE_NAME}),
        ],
    )
    return replace(start, **changes)  # type: ignore[arg-type]


def test_hostile_names_are_text_everywhere() -> None:
    page = render_report(report(title=HOSTILE_NAME, note=HOSTILE_NAME))
    outline = Outline(page)
    assert "<script" not in page
    assert outline.of("script") == []
    assert outline.text.count("<script>alert(1)</script>") >= 8
    assert outline.of("img")[0]["alt"] == f'"quoted" {HOSTILE_NAME}'


def test_page_needs_nothing_from_elsewhere() -> None:
    page = render_report(report(more=retention()))
    outline = Outline(page)
    assert "http:" not in page
    assert "https:" not in page
    assert "@import" not in page
    assert "url(" not in page
    for tag, attributes in outline.elements:
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("data:", "#")), f"{tag} {name}"
        assert not [name for name in attributes if name.startswith("on")]
    policies = [meta["content"] for meta in outline.of("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    assert str(policies[0]).startswith("default-src 'none'; img-src data:;")


def test_links_inside_the_page_lead_somewhere_and_pictures_have_words() -> None:
    outline = Outline(render_report(report(more=retention())))
    identifiers = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert len(outline.of("a")) == 6
    assert {str(link["href"])[1:] for link in outline.of("a")} <= set(identifiers)
    assert all(image["alt"] and image["width"] and image["height"] for image in outline.of("img"))
    assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in outline.of("svg"))


def test_summary_shows_j_and_f_before_and_after() -> None:
    text = " ".join(Outline(render_report(report(max_steps=4000))).text.split())
    assert "J&F, validation set 0.559 → 0.760 +0.201 Steps 1,200 of 4,000 Time 42 min" in text


def test_absent_scores_are_dashes_with_a_reason_and_never_zero() -> None:
    reason = "the object is labeled in the first frame only"
    table = table_of([row("caps", 2, Scores(reason=reason), scores(0.5))], Scores(reason="none"), scores(0.5))
    section = ScoreSection("Before and after", "comparison", "Before and after", table)
    outline = Outline(render_report(report(table, sections=[section])))
    text = " ".join(outline.text.split())
    assert f"caps 2 – 0.500 – – 0.479 – 0.521 before: {reason}" in text
    assert "0.000" not in text


def test_unfinished_run_says_what_is_missing() -> None:
    missing = "No validation has run yet."
    section = ScoreSection("Before and after", "comparison", "Before and after", None, missing)
    headline = Headline("J&F", None)
    bare = Report("new", "running", 0, "now", headline=headline, sections=[section], reload_seconds=60)
    outline = Outline(render_report(bare))
    assert outline.text.count("No validation has run yet.") == 1, "said once, where the scores would be"
    assert "not measured" in outline.text
    refresh = [meta for meta in outline.of("meta") if meta.get("http-equiv") == "refresh"]
    assert [meta["content"] for meta in refresh] == ["60"]
    assert 'http-equiv="refresh"' not in render_report(replace(bare, status="finished"))


def test_colors_in_tables_are_those_of_pictures() -> None:
    chips = [i["style"] for i in Outline(render_report(report())).of("i") if "background" in (i.get("style") or "")]
    assert chips == [f"background:{hex_color(int(row.item))}" for row in comparison().rows]


def test_provenance_shows_every_leaf_and_earlier_starts() -> None:
    text = Outline(render_report(report())).text
    assert "versions · torch" in text
    assert "python training/train.py -c sam2.1_training/x" in text
    assert "– (not known here)" in text
    assert "Earlier start: 2025-05-03T20:01:10+00:00" in text
    assert text.count("NVIDIA H200") == 2


def test_changes_have_signs_and_words_for_nothing() -> None:
    assert [change_text(v) for v in (0.0312, -0.2, 0.0001, None)] == ["+0.031", "−0.200", "±0.000", "–"]


def test_worse_objects_are_warned_of_worst_first() -> None:
    table = retention()
    assert worse_warnings([table]) == [
        "Retention set: mean J&F 0.877 → 0.818 (−0.059)",
        "Retention set: kitchen, object 4: J&F 0.844 → 0.731 (−0.113)",
        "Retention set: street, object 1: J&F 0.911 → 0.905 (−0.006)",
        "Falls of J&F by up to 0.005 are not listed here.",
    ]
    assert worse_warnings([table], tolerance=0.06)[1:] == ["Falls of J&F by up to 0.06 are not listed here."]
    assert worse_warnings([table], at_most=1)[-2] == "Retention set: 1 more objects got worse; the table shows them"
    absent = replace(table, rows=[row("a", 1, Scores(reason="x"), scores(0.1))], before=Scores(reason="x"))
    assert worse_warnings([absent]) == []
    hardly = replace(table, rows=[row("a", 1, scores(0.013), scores(0.0126))], after=table.before)
    assert worse_warnings([hardly]) == [], "0.013 → 0.013 is no news"


def test_many_rows_are_cut_to_the_worst_and_the_file_stays_small() -> None:
    rows = [row(f"video_{n:05}", 1, scores(0.5), scores(0.4 + n / 20_000)) for n in range(4000, 0, -1)]
    page = render_report(report(table_of(rows, scores(0.5), scores(0.5))))
    assert "2,000 rows with smaller losses are not shown" in Outline(page).text
    assert page.count('<th scope="row">video') == MAX_ROWS
    assert "video_<wbr>00001" in page
    assert "video_<wbr>04000" not in page
    assert len(page) < 3_000_000


def test_pictures_stay_within_their_budget() -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (400, 900, 3)).astype(np.uint8) for _ in range(4)]
    full = data_uris(noise)
    assert [(entry[1], entry[2]) for entry in full if entry] == [(900, 400)] * 4
    total = sum(len(entry[0]) for entry in full if entry)
    smaller = data_uris(noise, budget_bytes=total // 3)
    assert all(smaller)
    assert sum(len(entry[0]) for entry in smaller if entry) <= total // 3
    assert data_uris(noise, budget_bytes=1000) == [None] * 4


def test_report_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sam2_logs" / "recipe" / "report.html"
    write_report(path, report())
    before = path.read_bytes()
    assert before.startswith(b"<!doctype html>")
    assert before.rstrip().endswith(b"</html>")

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_report(path, report(step=2000))
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def test_a_table_has_the_scores_and_rows_that_its_task_names() -> None:
    rows = [ScoreRow("street", "car", Scores((0.5, 0.25)), Scores((0.75, 0.5)))]
    table = ScoreTable("test set", ("HOTA", "IDF1"), rows, rows[0].before, rows[0].after, ("Sequence", "Class"))
    text = " ".join(Outline(render_report(report(table, headline=Headline("HOTA", table)))).text.split())
    assert "HOTA, test set 0.500 → 0.750 +0.250" in text
    assert "Sequence Class HOTA IDF1 before after change before after" in text
    assert "street car 0.500 0.750 +0.250 0.250 0.500" in text
    worse = replace(table, rows=[replace(rows[0], before=rows[0].after, after=rows[0].before)])
    assert worse_warnings([worse])[0] == "Test set: street, class car: HOTA 0.750 → 0.500 (−0.250)"
