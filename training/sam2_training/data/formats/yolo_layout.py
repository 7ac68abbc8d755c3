"""Where the images and the label files of a YOLO data set are: Ultralytics' images/ beside labels/, and data.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import DataError
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats.listing import join, list_folders, list_names
from sam2_training.data.frames import frame_root
from sam2_training.data.images import read_bytes

LABEL_SUFFIX = ".txt"
_YAML = (".yaml", ".yml")
_YAML_NAMES = ("data.yaml", "dataset.yaml", "data.yml")
_CURE = (
    "Give a data.yaml, a folder with images/ and labels/, or the folder of label files as dataset.data_path and that "
    "of the images as dataset.img_folder."
)


@dataclass(frozen=True)
class YoloLayout:
    """Folders of the same structure, and what classes are called."""

    images: str
    labels: str
    names: Mapping[int, str] = field(default_factory=dict)


def yolo_layout(config: DatasetConfig) -> YoloLayout:
    """Raises DataError if the folders are not there."""
    root = config.annotations.rstrip("/")
    if not g_pathmgr.exists(root):
        raise DataError(f"dataset.data_path does not exist: {root}\n{_CURE}")
    if root.lower().endswith(_YAML):
        return _of_yaml(root)
    if config.img_folder is not None:
        return YoloLayout(frame_root(config.img_folder, root), root, _names_near(root))
    if g_pathmgr.isdir(join(root, "images")) and g_pathmgr.isdir(join(root, "labels")):
        return YoloLayout(join(root, "images"), join(root, "labels"), _names_near(root))
    for here, there in (("images", "labels"), ("labels", "images")):
        other = _replaced(root, here, there)
        if other and g_pathmgr.isdir(other):
            images, labels = (root, other) if here == "images" else (other, root)
            return YoloLayout(images, labels, _names_near(root))
    raise DataError(f"no images/ and labels/ in this folder: {root}\n{_CURE}")


def label_folders(labels: str) -> Iterator[tuple[str, list[str]]]:
    """(folder within `labels`, "" for itself; its label files) of every folder that has some, at most 4 deep."""
    waiting = [("", 0)]
    while waiting:
        folder, depth = waiting.pop(0)
        path = join(labels, folder) if folder else labels
        names = list_names(path)
        files = [name for name in names if name.lower().endswith(LABEL_SUFFIX) and name.lower() != "classes.txt"]
        if files:
            yield folder, files
        if depth < 4:
            waiting += [(join(folder, name) if folder else name, depth + 1) for name in list_folders(path, names)]


def _replaced(path: str, part: str, other: str) -> str:
    """The path with its last folder of that name replaced, as Ultralytics does it; "" if it has none."""
    parts = path.split("/")
    places = [place for place, name in enumerate(parts) if name == part]
    return "/".join([*parts[: places[-1]], other, *parts[places[-1] + 1 :]]) if places else ""


def _of_yaml(path: str) -> YoloLayout:
    values = _read_yaml(path)
    folder = path.rpartition("/")[0] or "."
    base, train = values.get("path") or "", values.get("train")
    if not isinstance(base, str) or not isinstance(train, str) or not train:
        raise DataError(f"train={str(train)[:60]}, expected one folder of images: {path}\n{_CURE}")
    shorter = train
    while shorter.startswith("../"):
        shorter = shorter[3:]  # Roboflow writes ../train/images for a folder beside the file
    tried = [join(folder, base, train), join(folder, train), join(folder, shorter)]
    images = next((one.rstrip("/") for one in tried if g_pathmgr.isdir(one)), "")
    labels = _replaced(images, "images", "labels")
    if not images or not labels or not g_pathmgr.isdir(labels):
        wanted = labels or tried[0]
        raise DataError(f"the folder that train={train} names is not there: {wanted}\n  file  {path}\n{_CURE}")
    return YoloLayout(images, labels, _names_in(values, path))


def _names_near(folder: str) -> dict[int, str]:
    """The class names in the data.yaml of this folder or of the two above it."""
    for place in (folder, *(folder.rsplit("/", up)[0] for up in (1, 2) if folder.count("/") >= up)):
        for name in _YAML_NAMES:
            path = join(place, name)
            if g_pathmgr.exists(path):
                return _names_in(_read_yaml(path), path)
    return {}


def _read_yaml(path: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(read_bytes(path, 2**20))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"the file is not YAML ({str(error).splitlines()[0]}): {path}\n{_CURE}") from error
    if not isinstance(values, dict):
        raise DataError(f"the file holds no keys, expected train and names: {path}\n{_CURE}")
    return values


def _names_in(values: Mapping[str, Any], path: str) -> dict[int, str]:
    names = values.get("names") or {}
    pairs = (
        list(enumerate(names)) if isinstance(names, list) else list(names.items()) if isinstance(names, dict) else None
    )
    if pairs is None or any(type(number) is not int for number, _ in pairs):
        raise DataError(f"names={str(names)[:60]}, expected a list, or {{0: name, ...}}: {path}\nCorrect it.")
    return {number: str(name) for number, name in pairs}
