"""Where the tests find the project."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SCRIPTS = REPOSITORY / "training"
"""The folder of the commands' scripts, and of the package."""
