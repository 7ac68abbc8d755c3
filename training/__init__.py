"""Fine-tune SAM 2.1 on video masks: reproducible, resumable at any step."""

from __future__ import annotations

import importlib.machinery
from pathlib import Path

__version__ = "0.1.0"


def _refuse_to_be_shadowed() -> None:
    """Raises ImportError when a new process would find another package `training` before this one.

    The distribution of SAM 2 installs a top-level package of the same name. If it came first on the search path,
    worker processes would silently run its code instead of ours.
    """
    found = importlib.machinery.PathFinder.find_spec("training")
    ours = Path(__file__).resolve()
    if found is not None and found.origin is not None and Path(found.origin).resolve() != ours:
        raise ImportError(
            f"two packages are called `training`: {found.origin} comes before {ours} on the search path. "
            "The first is probably the research code that the sam2 distribution installs. Delete that folder "
            f"(`make setup` does), or put {ours.parent.parent} first on PYTHONPATH."
        )


_refuse_to_be_shadowed()
