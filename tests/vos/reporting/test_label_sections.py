"""The label report in the page of a run."""

from __future__ import annotations

import re

from sam2_training.data.label_report import LabelReport
from sam2_training.engine.task import RunSummary
from sam2_training.report.page import render_report
from sam2_training.vos.config import VosConfig
from sam2_training.vos.reporting.sections import run_report


def page(labels: dict[str, LabelReport]) -> str:
    summary = RunSummary("finished", "", 3, 3, 3, [], [], None, {})
    return re.sub("<wbr>", "", render_report(run_report("demo", VosConfig(), {}, [], [], summary, labels)))


def test_the_page_says_how_masks_are_read_and_what_is_suspicious() -> None:
    training = LabelReport(warnings=("objects 1, 2 take turns",), lines=("value 255 is ignored: 7 pixels",))
    text = page({"training set": training, "retention set": LabelReport(lines=("one object",))})
    assert "Masks to look at" in text
    assert "Training set: objects 1, 2 take turns" in text
    assert '<a href="#masks">Masks</a>' in text
    assert "Training set: value 255 is ignored: 7 pixels" in text
    assert "Retention set: one object" in text


def test_the_page_of_generated_videos_has_no_block_on_masks() -> None:
    text = page({"training set": LabelReport()})
    assert "Masks to look at" not in text
    assert "How masks are read" not in text
