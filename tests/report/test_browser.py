"""The report in a real browser: from disk, on a desk and on a phone, light and dark."""

from __future__ import annotations

from pathlib import Path

import pytest
from sam2_training.report.page import render_report, write_report

from tests.report.browser import DARK, chromium, measure, open_page
from tests.report.sample_report import sample_data


@pytest.fixture(scope="module")
def report(real_data: Path) -> str:
    chromium()
    return render_report(sample_data(real_data))


def test_opens_from_disk_without_a_word_on_the_console(real_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "a folder with spaces" / "report.html"
    write_report(path, sample_data(real_data))
    shot = tmp_path / "shot.png"
    opened = open_page(path, tmp_path / "profile", f"--screenshot={shot}", "--window-size=1280,900")
    assert opened.console == []
    assert "sam2.1_training/" in opened.dom
    assert opened.dom.count("data:image/jpeg") == 3
    assert shot.stat().st_size > 50_000  # an empty page of this size takes 10 KB


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_fits_the_screen_and_shows_all_pictures(report: str, tmp_path: Path, width: int) -> None:
    measures = measure(report, width, tmp_path)
    assert measures["width"] == width
    assert measures["scroll_width"] <= width
    assert len(measures["pictures"]) == 3
    assert all(natural > 1000 and shown > 0 for natural, shown in measures["pictures"])
    assert len(measures["charts"]) == 11
    assert all(250 < chart <= width for chart in measures["charts"])
    assert measures["summary_top"] == 0  # scrolled down, the summary stays in sight


def test_what_is_wider_than_the_screen_shows_that_it_scrolls(report: str, tmp_path: Path) -> None:
    phone = measure(report, 400, tmp_path)["scrollers"]
    assert len(phone) >= 4, "strips and tables"
    assert all(box["overflows"] and box["hint"] for box in phone)
    desk = measure(report, 1280, tmp_path)["scrollers"]
    assert not any(box["hint"] for box in desk)
    for box in (*phone, *desk):
        assert (box["fade"] not in ("0px", "")) == box["overflows"], "it fades out where it continues"


def test_follows_the_dark_scheme(report: str, tmp_path: Path) -> None:
    light, dark = measure(report, 390, tmp_path), measure(report, 390, tmp_path, DARK)
    assert light["paper"] == "rgb(251, 251, 250)"
    assert dark["paper"] == "rgb(20, 22, 26)"


def test_these_checks_notice_a_bad_page(report: str, tmp_path: Path) -> None:
    wide = '<div style="width:2000px">wide</div><img src="data:image/png;base64,AAAA" alt=""></main>'
    measures = measure(report.replace("</main>", wide), 390, tmp_path)
    assert measures["scroll_width"] >= 2000
    assert measures["pictures"][-1][0] == 0
    path = tmp_path / "bad.html"
    path.write_text(
        report.replace("</main>", '<script>alert(1)</script><img src="http://example.invalid/a.png"></main>')
    )
    console = "\n".join(open_page(path, tmp_path / "profile").console)
    assert "script" in console, "the page's policy must have refused the script"
    assert "example.invalid" in console, "and the picture from elsewhere"


def test_a_missing_browser_is_skipped_here_and_a_failure_where_everything_is_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.delenv("SAM2_REQUIRE_TEST_DATA", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Chromium"):
        chromium()
    monkeypatch.setenv("SAM2_REQUIRE_TEST_DATA", "1")
    with pytest.raises(pytest.fail.Exception, match="no Chromium"):
        chromium()
