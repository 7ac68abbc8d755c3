"""The installed sam2 has everything that relies_on.py lists, and the list is complete."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from sam2_training.vos.model.tracker import TrainableSAM2
from sam2_training.vos.sam2 import relies_on
from sam2_training.vos.sam2.adapter import MemoryBank, MemoryEntry

from tests.places import SCRIPTS

PACKAGE = SCRIPTS / "sam2_training"
ALLOWED_OUTSIDE = {
    "vos/model/build.py": {"sam2.modeling.sam2_base.SAM2Base"},
    "vos/export/stock_comparison.py": {"sam2.build_sam.build_sam2_video_predictor"},
}
"""Imports from sam2 outside vos/sam2/: the class that is instantiated, and a public function."""


def resolved(path: str) -> Any:
    """The object at an import path such as package.module.Class.method."""
    parts = path.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            found: Any = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            found = getattr(found, name)
        return found
    raise ModuleNotFoundError(path)


def imported_from_sam2(path: Path) -> set[str]:
    """Import paths of everything that a source file imports from the package sam2, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sam2":
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "sam2"}
    return found


def test_sam2_still_has_everything_that_we_rely_on(network: TrainableSAM2) -> None:
    for path, parameters in (relies_on.CALLED | relies_on.OVERRIDDEN).items():
        assert tuple(inspect.signature(resolved(path)).parameters) == parameters, path
    for path in relies_on.IMPORTED:
        assert resolved(path) is not None, path
    for path, names in relies_on.ATTRIBUTES.items():
        parts = [module for module in network.modules() if isinstance(module, resolved(path))]
        assert parts, f"the network has no {path}"
        missing = {name for part in parts for name in names if not hasattr(part, name)}
        assert not missing, f"{path} lacks {missing}"
    assert set(MemoryEntry.__annotations__) == set(relies_on.MEMORY_ENTRY_KEYS)
    assert tuple(MemoryBank().as_output_dict()) == relies_on.MEMORY_KEYS


def test_sam2_writes_memory_under_the_keys_that_we_read(network: TrainableSAM2) -> None:
    network.eval()
    with torch.no_grad():
        features = network.encode_images(torch.randn(1, 3, 64, 64))
        prediction, *_ = network.decode_first(
            0, True, features, 1, None, torch.ones(1, 64, 64, dtype=torch.bool), MemoryBank(), 1
        )
        entry = network.encode_memory(features, prediction, has_points=False)
    assert set(entry) == set(relies_on.MEMORY_ENTRY_KEYS)


def test_a_network_has_our_classes_in_place_of_stocks(network: TrainableSAM2) -> None:
    for stock, ours in relies_on.REPLACED.items():
        found = [type(module) for module in network.modules() if isinstance(module, resolved(stock))]
        assert found, stock
        assert all(issubclass(kind, resolved(ours)) for kind in found), (stock, set(found))


def test_the_list_names_every_import_and_only_vos_sam2_imports_sam2() -> None:
    inside, outside = set(), {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name, found = path.relative_to(PACKAGE).as_posix(), imported_from_sam2(path)
        if name.startswith("vos/sam2/"):
            inside |= found
        elif found:
            outside[name] = found
    assert inside == set(relies_on.IMPORTED)
    assert outside == ALLOWED_OUTSIDE


def test_the_list_names_no_method_or_attribute_that_is_not_used() -> None:
    source = "\n".join(
        path.read_text() for path in sorted((PACKAGE / "vos" / "sam2").glob("*.py")) if path.name != "relies_on.py"
    )
    names = {path.split(".")[-1] for path in relies_on.CALLED | relies_on.OVERRIDDEN}
    names |= {name for found in relies_on.ATTRIBUTES.values() for name in found}
    unused = sorted(name for name in names if name not in source)
    assert not unused, unused
