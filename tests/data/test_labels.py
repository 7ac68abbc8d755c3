"""Facts of mask files, and ids by the rules that say what values mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sam2_training.core.errors import ConfigError, DataError
from sam2_training.data.formats.folders import FolderSource
from sam2_training.data.images import StoredMask
from sam2_training.data.label_facts import VideoLabels, edges
from sam2_training.data.labels import ColorIds, LabelRules, read_palette
from sam2_training.data.source import UNLABELED
from sam2_training.tasks import load_config
from sam2_training.vos.config import VosConfig

MakeSquares = Callable[..., np.ndarray]
RED, GREEN, BLACK = (128, 0, 0), (0, 128, 0), (0, 0, 0)


def discs(ids: list[int], side: int = 64) -> np.ndarray:
    yy, xx = np.mgrid[:side, :side]
    mask = np.zeros((side, side), np.uint8)
    for n, value in enumerate(ids):
        mask[(xx - 14 - 17 * n) ** 2 + (yy - 30) ** 2 < 60] = value
    return mask


def source(folders: Any, **rules: Any) -> FolderSource:
    return FolderSource(str(folders.images), str(folders.masks), LabelRules(**rules))


def labels_of(folders: Any, **rules: Any) -> VideoLabels:
    return VideoLabels.from_text(source(folders, **rules).facts("v").labels)


@pytest.mark.parametrize("ids", [[1, 2, 3], [255], [1, 255], [1000, 2001]])
def test_masks_without_smoothing_have_no_pixel_between_two_others(ids: list[int]) -> None:
    mask = discs([0] * len(ids)).astype(np.uint16)
    for n, value in enumerate(ids):
        mask[discs([0] * n + [1]) > 0] = value
    assert edges(mask)[0] == 0


@pytest.mark.parametrize("method", [Image.Resampling.BILINEAR, Image.Resampling.LANCZOS, Image.Resampling.BICUBIC])
@pytest.mark.parametrize("ids", [[255], [2, 5], [1, 2, 3]])
def test_smoothed_masks_have_pixels_between_two_others(ids: list[int], method: Image.Resampling) -> None:
    smoothed = np.asarray(Image.fromarray(discs(ids, 66)).resize((50, 50), method))
    between, sharp = edges(smoothed)
    assert between >= 8
    assert between > 0.3 * (between + sharp)


def test_single_pixels_and_an_object_inside_another_are_not_soft() -> None:
    points = np.zeros((20, 20), np.uint8)
    points[2:18:3, 2:18:3] = np.arange(36).reshape(6, 6) + 1
    assert edges(points)[0] == 0
    nested = np.zeros((40, 40), np.uint8)
    nested[5:35, 5:35], nested[12:28, 12:28] = 1, 9
    between, sharp = edges(nested)
    assert (between, sharp) == (0, 64)  # of 0 and 1, which have nothing between them, no edge counts


def test_facts_name_the_first_file_of_each_value_and_survive_as_text(folders: Any) -> None:
    folders.video("v", [[1], [1, 255], None, [255]])
    facts = labels_of(folders)
    found = {one.value: (one.pixels, one.files, one.file) for one in facts.values}
    assert found[1] == (72, 2, "00000.png")
    assert found[255] == (72, 2, "00001.png")
    assert (facts.num_files, facts.files_without_zero, facts.most, facts.soft) == (3, 0, (2, "00001.png"), None)
    assert VideoLabels.from_text(facts.to_text()) == facts


def test_a_used_index_whose_color_changes_is_found_and_an_unused_one_is_not(
    folders: Any, make_squares: MakeSquares
) -> None:
    folders.video("v", [[1, 2], [1]])
    path = folders.masks / "v/00001.png"

    def repaint(index: int) -> None:
        image = Image.fromarray(make_squares([1]).astype(np.uint8))
        palette = [0, 0, 0, 128, 0, 0, 0, 128, 0]
        palette[3 * index : 3 * index + 3] = [9, 9, 9]
        image.putpalette(palette)
        image.save(path)

    repaint(2)
    assert labels_of(folders).palettes is None
    repaint(1)
    assert labels_of(folders).palettes == (1, "00000.png", 128 << 16, "00001.png", 9 * 65793)
    assert labels_of(folders, palette="index").palettes is None


def test_folders_of_two_objects_with_equal_masks_are_found(folders: Any, make_squares: MakeSquares) -> None:
    for t in range(2):
        folders.image("v", f"{t}.png")
        for folder, ids in (("a", [1]), ("b", [0, 7]), ("c", [15]), ("empty", []), ("none", [])):
            folders.mask(f"v/{folder}", f"{t}.png", make_squares(ids))
    assert labels_of(folders).same == ("a", "c")


def test_ignored_values_are_no_object_and_a_file_of_them_alone_is_unlabeled(folders: Any) -> None:
    folders.video("v", [[1, 255], [2]])
    folders.image("v", "00002.png")
    folders.mask("v", "00002.png", np.full((24, 32), 255))
    video = source(folders, ignore_ids=(255,)).facts("v")
    assert video.object_ids == (1, 2)
    assert video.areas.tolist() == [[36, 0], [0, 36], [UNLABELED, UNLABELED]]
    labels = source(folders, ignore_ids=(255,)).labels(video, 0, (1, 2))
    assert labels.ignored is not None
    assert labels.ignored.shape == (2, 24, 32)
    assert np.count_nonzero(labels.ignored) == 2 * 36
    assert source(folders, ignore_ids=(255,)).labels(video, 1, (1, 2)).ignored is None


def test_values_that_object_ids_does_not_name_are_background(folders: Any, make_squares: MakeSquares) -> None:
    folders.video("v", [[1, 2, 255]])
    assert source(folders, object_ids=(2, 9)).facts("v").object_ids == (2,)
    folders.image("w", "0.png")
    for folder in ("1", "2"):
        folders.mask(f"w/{folder}", "0.png", make_squares([255]))
    assert source(folders, object_ids=(2,)).facts("w").object_folders == ("2",)


@pytest.mark.parametrize(("rule", "area"), [("nonzero", 108), ("half", 72)])
def test_a_binary_mask_is_one_object(folders: Any, make_squares: MakeSquares, rule: Any, area: int) -> None:
    folders.image("v", "0.png")
    folders.mask("v", "0.png", make_squares([127, 128, 255]), "L")
    video = source(folders, binary_masks=rule).facts("v")
    assert (video.object_ids, video.areas.tolist()) == ((1,), [[area]])
    assert np.count_nonzero(source(folders, binary_masks=rule).masks(video, 0, (1,))) == area


def test_a_palette_index_has_no_half(folders: Any) -> None:
    folders.video("v", [[1]])
    with pytest.raises(DataError, match=r"(?s)binary_masks=half needs gray masks.*00000\.png"):
        source(folders, binary_masks="half").facts("v")


def test_by_color_an_object_keeps_its_id_when_the_palette_is_ordered_anew(folders: Any) -> None:
    ids = discs([1, 2])
    orders = ([BLACK, RED, GREEN], [RED, BLACK, GREEN], [GREEN, RED, BLACK])
    for t, order in enumerate(orders):
        folders.image("v", f"{t}.png", height=64, width=64)
        stored = np.array([order.index(color) for color in orders[0]], np.uint8)[ids]
        image = Image.fromarray(stored)
        image.putpalette([channel for color in order for channel in color])
        (folders.masks / "v").mkdir(exist_ok=True)
        image.save(folders.masks / "v" / f"{t}.png")
    video = source(folders, palette="color").facts("v")
    assert video.object_ids == (1, 2)
    assert video.areas.tolist() == [[np.count_nonzero(ids == 1), np.count_nonzero(ids == 2)]] * 3
    for t in range(3):
        assert (source(folders, palette="color").masks(video, t, (1, 2)) == np.stack([ids == 1, ids == 2])).all()


def test_color_masks_are_read_by_color_or_by_a_palette_file(folders: Any, tmp_path: Path) -> None:
    ids = discs([1, 2])
    folders.image("v", "0.png", height=64, width=64)
    (folders.masks / "v").mkdir()
    Image.fromarray(np.array([BLACK, RED, GREEN], np.uint8)[ids]).save(folders.masks / "v/0.png")
    assert source(folders, palette="color").facts("v").object_ids == (1, 2)
    listed = tmp_path / "colors.txt"
    listed.write_text("# id red green blue name\n0 0 0 0\n7 128 0 0 cat\n3 0 128 0\n")
    video = source(folders, palette=str(listed)).facts("v")
    assert video.object_ids == (3, 7)
    assert (source(folders, palette=str(listed)).masks(video, 0, (3, 7)) == np.stack([ids == 2, ids == 1])).all()
    listed.write_text("0 0 0 0\n7 128 0 0\n")
    with pytest.raises(DataError, match=r"(?s)a color without an id, \(0, 128, 0\): .*0\.png\nAdd it to .*colors\.txt"):
        source(folders, palette=str(listed)).facts("v")


def test_a_palette_file_that_is_none_is_named(tmp_path: Path) -> None:
    listed = tmp_path / "colors.txt"
    for text, match in (("1 2 3", "has the line '1 2 3'"), ("1 0 0 256", "0 256"), ("1 9 9 9\n2 9 9 9", "twice")):
        listed.write_text(text)
        with pytest.raises(DataError, match=match):
            read_palette(str(listed))
    with pytest.raises(DataError, match="cannot be read"):
        read_palette(str(tmp_path / "missing.txt"))
    image = Image.fromarray(np.zeros((2, 2), np.uint8))
    image.putpalette([5, 5, 5, 128, 0, 0, 5, 5, 5])
    image.save(tmp_path / "palette.png")
    assert read_palette(str(tmp_path / "palette.png")) == {5 * 65793: 0, 128 << 16: 1}


def test_gray_levels_have_the_colors_that_they_show() -> None:
    colors = ColorIds.of_rules(LabelRules(palette="color"))
    one_bit = StoredMask(np.array([[0, 1]], np.uint8), None, 1)
    eight_bits = StoredMask(np.array([[255, 7]], np.uint8), None, 8)
    assert colors.of(one_bit, "a").tolist() == [[0, 1]]
    assert colors.of(eight_bits, "b").tolist() == [[1, 2]]


def test_colors_first_seen_is_a_spelling_of_palette_color() -> None:
    """In each section of a dataset, whichever of the two names and values is written."""
    settings = ("dataset.colors=first_seen", "val_dataset.img_folder=a", "val_dataset.gt_folder=b")
    config = load_config("custom_finetune", [*settings, "val_dataset.colors=first_seen"], VosConfig).config
    assert config.val_dataset is not None
    assert (config.dataset.palette, config.val_dataset.palette) == ("color", "color")
    assert config.dataset.label_rules == LabelRules(palette="color")
    same = load_config("custom_finetune", ["dataset.palette=first_seen"], VosConfig).config
    assert same.dataset == config.dataset
    with pytest.raises(ConfigError, match=r"dataset\.colors=color with|dataset\.binary_masks=nonzero"):
        load_config("custom_finetune", [*settings, "dataset.binary_masks=nonzero"], VosConfig)
