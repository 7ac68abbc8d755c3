"""A page opened in headless Chromium: what the console said, and what the layout came to."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--enable-logging=stderr", "--v=0",
)  # fmt: skip
DARK = "--blink-settings=preferredColorScheme=0"
TIMEOUT_SECONDS = 90
FRAME_HEIGHT = 800

PROBE = """
<!doctype html><body style="margin:0"><pre id="measures"></pre>
<iframe id="page" style="border:0;width:{width}px;height:{height}px" srcdoc="{page}"></iframe>
<script>
document.getElementById("page").addEventListener("load", function () {{
  const view = this.contentWindow, page = this.contentDocument, root = page.documentElement;
  view.scrollTo(0, 1000);
  const summary = page.querySelector(".summary");
  document.getElementById("measures").textContent = JSON.stringify({{
    width: root.clientWidth,
    scroll_width: Math.max(root.scrollWidth, page.body.scrollWidth),
    scroll_height: root.scrollHeight,
    pictures: Array.from(page.images, image => [image.naturalWidth, image.clientWidth]),
    charts: Array.from(page.querySelectorAll("svg.chart"), chart => chart.getBoundingClientRect().width),
    summary_top: summary ? summary.getBoundingClientRect().top : null,
    scrollers: Array.from(page.querySelectorAll(".scroll"), box => ({{
      overflows: box.scrollWidth > box.clientWidth,
      hint: box.previousElementSibling.matches(".sideways") && box.previousElementSibling.offsetHeight > 0,
      fade: view.getComputedStyle(box).getPropertyValue("--fade"),
    }})),
    paper: view.getComputedStyle(page.body).backgroundColor,
  }});
}});
</script>
"""
"""A page around the page: nothing is added to the one that is measured, and a frame may be as narrow as a phone."""


@dataclass(frozen=True)
class Opened:
    """What Chromium made of a page."""

    dom: str
    console: list[str]


def chromium() -> str:
    """The browser's path. Without one the test is skipped; where everything is required it fails."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        reason = "no Chromium: apt-get install --no-install-recommends chromium"
        if os.environ.get("SAM2_REQUIRE_TEST_DATA") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def open_page(path: Path, profile: Path, *flags: str) -> Opened:
    """Opens a file from disk with a new profile and waits until it is laid out."""
    command = [
        chromium(), *FLAGS, f"--user-data-dir={profile}", "--virtual-time-budget=4000", "--dump-dom", *flags,
        path.resolve().as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True)
    return Opened(done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line])


def measure(page: str, width: int, folder: Path, *flags: str) -> dict[str, Any]:
    """The layout of a page (HTML text) in a frame of `width` pixels; nothing of it leaves this machine."""
    probe = folder / f"probe_{width}.html"
    probe.write_text(PROBE.format(width=width, height=FRAME_HEIGHT, page=html.escape(page)))
    dom = open_page(probe, folder / f"profile_{width}_{len(flags)}", *flags).dom
    text = re.search(r'<pre id="measures">(.*?)</pre>', dom, re.DOTALL)
    assert text is not None
    measures: dict[str, Any] = json.loads(html.unescape(text.group(1)))
    return measures
