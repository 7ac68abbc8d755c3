"""The data summary counts everything once."""

from __future__ import annotations

from pathlib import Path

from sam2_training.data.index import open_index
from sam2_training.report.data import DataSection, Report
from sam2_training.report.page import write_report
from sam2_training.vos.reporting.data_summary import describe_datasets, summarize_dataset


def test_summary_counts_everything_once() -> None:
    lengths, areas = [5, 6, 90, 41], [0.00005, 0.02, 0.0299, 0.03, 0.6]
    summary = summarize_dataset("set", lengths, areas, num_objects=6, visible=5, absent=2, unlabeled=7)
    assert summary.totals == {"videos": 4, "frames": 142, "objects": 6}
    clip_lengths, sizes, labels = summary.histograms
    assert sum(clip_lengths.counts) == 4
    assert clip_lengths.labels[0] == "0–19"
    assert clip_lengths.counts[0] == 2
    assert dict(zip(sizes.labels, sizes.counts, strict=True))["1–3"] == 2
    assert sizes.counts[0] == 1
    assert sizes.counts[-1] == 1
    assert sum(sizes.counts) == 5
    assert labels.counts == (5, 2, 7)


def test_summary_of_equal_lengths_and_of_nothing() -> None:
    same = summarize_dataset("set", [8, 8], [], num_objects=0, visible=0, absent=0, unlabeled=0)
    assert same.histograms[0].labels == ("8",)
    none = summarize_dataset("set", [], [], num_objects=0, visible=0, absent=0, unlabeled=0)
    assert sum(none.histograms[0].counts) == 0


def test_the_report_names_what_is_not_used(folders, tmp_path: Path) -> None:
    folders.video("v", [[1], [1], None])
    (folders.images / "v" / "pre<view.gif").write_bytes(b"")
    (summary,) = describe_datasets({"training set": open_index(folders.config())}, {})
    assert summary.notes[0] == "not used: pictures of kinds that are not read: 1 (v/pre<view.gif)"
    assert summary.notes[1].startswith("check: in 1 video the labeled frames are exactly the first ones")
    write_report(tmp_path / "report.html", Report("r", "finished", 1, "now", sections=[DataSection([summary])]))
    page = (tmp_path / "report.html").read_text().replace("<wbr>", "").replace("\u200b", "")
    assert "(v/pre&lt;view.gif)</li>" in page
