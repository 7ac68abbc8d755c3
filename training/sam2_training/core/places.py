"""Where this project's own files are."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
REPOSITORY = PACKAGE.parents[1]
CONFIG_ROOT = REPOSITORY / "sam2_configs"
"""Recipes and the groups that they are composed of."""
