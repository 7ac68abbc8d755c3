"""Where SAM 2's own training code lies: the package `training` of the sam2 distribution, which is not imported here."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path


def stock_root() -> Path:
    """The folder to put first on the search path of a process of its own that imports stock's `training`.

    Environments of earlier versions of `make setup` have the package in stock/. Where sam2 was installed without it,
    the folder holds no `training`.
    """
    site_packages = Path(sysconfig.get_path("purelib"))
    earlier = Path(sys.prefix) / "stock"
    return earlier if (earlier / "training").is_dir() and not (site_packages / "training").is_dir() else site_packages
