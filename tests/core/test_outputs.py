"""What an output folder refuses before anything is written, and what it takes for its own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from sam2_training.core.errors import ConfigError, DataError
from sam2_training.core.outputs import MANIFEST, OutputFolder, below

NAMES = ["masks/a/0.png", "masks/a/1.png", "table.csv"]


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """What is read: labels/a/0.png"""
    (tmp_path / "labels" / "a").mkdir(parents=True)
    (tmp_path / "labels" / "a" / "0.png").write_text("mine")
    return tmp_path / "labels"


def output(folder: Path | str, labels: Path | str, **more: bool) -> OutputFolder:
    return OutputFolder(Path(folder), "--output", {"gt_folder": labels, "list": None}, lambda _: bool(more))


def put(path: Path, text: str = "mine") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_new_folder_and_one_of_other_files_are_taken(labels: Path, tmp_path: Path) -> None:
    output(tmp_path / "new" / "deep", labels).check(NAMES)
    put(tmp_path / "out" / "notes.txt")
    put(tmp_path / "out" / "masks" / "b" / "0.png")
    output(tmp_path / "out", labels).check(NAMES)
    assert not (tmp_path / "new").exists()  # checking changes nothing


@pytest.mark.parametrize(
    "inside", ["labels", "labels/a", "labels/new", "labels/a/new/deep", "x/../labels", "link", "link/a"]
)
@pytest.mark.parametrize("absolute", [True, False])
def test_a_folder_in_what_is_read_is_refused_however_it_is_spelled(
    inside: str, absolute: bool, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(labels)
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path)
    for read in (labels, "labels", "link", tmp_path / "x" / ".." / "labels"):
        with pytest.raises(ConfigError, match=r"it lies in gt_folder .* Give another --output"):
            output(tmp_path / inside if absolute else inside, read).check(NAMES)


def test_another_spelling_on_a_case_blind_disk_is_the_same_folder(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = Path.stat

    def stat_of_any_spelling(path: Path, **more: bool) -> os.stat_result:
        return stat(Path(str(path).replace("LABELS", "labels")), **more)

    monkeypatch.setattr(Path, "stat", stat_of_any_spelling)
    with pytest.raises(ConfigError, match="it lies in gt_folder"):
        output(tmp_path / "LABELS" / "new", labels).check(NAMES)


@pytest.mark.parametrize("where", ["masks", "masks/a", "masks/other/deep"])
def test_what_is_read_must_not_lie_where_results_go(where: str, tmp_path: Path) -> None:
    put(tmp_path / "out" / where / "7.png")
    with pytest.raises(ConfigError, match=r"gt_folder .* (is|lies in) its masks"):
        output(tmp_path / "out", tmp_path / "out" / where).check(NAMES)
    with pytest.raises(ConfigError, match=r"gt_folder .* lies in its masks"):
        output(tmp_path / "out", tmp_path / "out" / where / "7.png").check(NAMES)
    with pytest.raises(ConfigError, match=r"gt_folder .* is its table.csv"):
        output(tmp_path / "out", put(tmp_path / "out" / "table.csv")).check(NAMES)


@pytest.mark.parametrize("link", ["labels/b", "labels/a/1", "labels/a/1.png"])
def test_links_in_what_is_read_that_lead_into_the_output_are_found(link: str, labels: Path, tmp_path: Path) -> None:
    own = output(tmp_path / "out", labels)
    own.record(NAMES)
    target = put(tmp_path / "out" / "masks" / "a" / "0.png")
    own.check(NAMES)
    (tmp_path / link).symlink_to(target if link.endswith(".png") else target.parent)
    with pytest.raises(ConfigError, match=f"by the link .*{link}, lies in its masks"):
        own.check(NAMES)


@pytest.mark.parametrize("link", ["out", "out/masks", "out/masks/a"])
def test_links_in_the_output_that_lead_to_what_is_read_are_found(link: str, labels: Path, tmp_path: Path) -> None:
    (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / link).symlink_to(labels / "a" if link == "out/masks/a" else labels)
    with pytest.raises(ConfigError, match="lies in gt_folder"):
        output(tmp_path / "out", labels).check(NAMES)


def test_links_in_the_output_that_lead_to_what_is_read_beside_it_are_found(tmp_path: Path) -> None:
    put(tmp_path / "out" / "labels" / "a" / "7.png")
    (tmp_path / "out" / "masks").mkdir()
    (tmp_path / "out" / "masks" / "a").symlink_to("../labels/a")
    with pytest.raises(ConfigError, match="masks/a lies in gt_folder"):
        output(tmp_path / "out", tmp_path / "out" / "labels").check(NAMES)


def test_names_that_are_not_utf8_are_recorded(labels: Path, tmp_path: Path) -> None:
    own, name = output(tmp_path / "out", labels), os.fsdecode(b"masks/caf\xe9/0.png")
    own.record([name])
    put(tmp_path / "out" / name)
    own.check([name])


def test_links_in_the_output_that_lead_elsewhere_are_refused(labels: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "masks").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"masks/a leads out of it, to .*elsewhere"):
        output(tmp_path / "out", labels).check(NAMES)


@pytest.mark.parametrize("name", ["masks/a/1.png", "table.csv"])
def test_files_that_no_run_wrote_are_named_and_not_replaced(name: str, labels: Path, tmp_path: Path) -> None:
    put(tmp_path / "out" / name)
    with pytest.raises(ConfigError, match=f"would be replaced.*: {name}. Give another --output, or move them away"):
        output(tmp_path / "out", labels).check(NAMES)
    (tmp_path / "out" / name).unlink()
    (tmp_path / "out" / name).symlink_to("nowhere")
    with pytest.raises(ConfigError, match=name):
        output(tmp_path / "out", labels).check(NAMES)


def test_recorded_files_are_replaced_and_others_beside_them_are_not(labels: Path, tmp_path: Path) -> None:
    own = output(tmp_path / "out", labels)
    own.record(NAMES[:1])
    own.record(NAMES[2:])
    put(tmp_path / "out" / "table.csv", "ours")
    put(tmp_path / "out" / "masks" / "a" / "0.png", "ours")
    own.check(NAMES)
    put(tmp_path / "out" / "masks" / "a" / "1.png")
    with pytest.raises(ConfigError, match=r"written: masks/a/1.png. Give"):
        own.check(NAMES)
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert manifest == {"files": {"": ["table.csv"], "masks/a": ["0.png"]}, "whole_folder": False}


def test_a_folder_of_an_earlier_version_stays_ours_when_it_gets_a_manifest(labels: Path, tmp_path: Path) -> None:
    put(tmp_path / "out" / "masks" / "a" / "1.png", "ours")
    former = output(tmp_path / "out", labels, known_by_its_content=True)
    former.check(NAMES)
    former.record(NAMES[2:])
    output(tmp_path / "out", labels).check(NAMES)


@pytest.mark.parametrize("text", ["", "[]", '{"files": {"": 3}}', "{"])
def test_a_damaged_manifest_makes_nothing_ours(text: str, labels: Path, tmp_path: Path) -> None:
    put(tmp_path / "out" / MANIFEST, text)
    with pytest.raises(ConfigError, match=r"is not intact .* Give another --output, or remove the folder"):
        output(tmp_path / "out", labels).check(NAMES)


def test_a_folder_of_unknown_files_is_checked_for_what_is_read(labels: Path, tmp_path: Path) -> None:
    put(tmp_path / "out" / "masks" / "a" / "1.png")
    output(tmp_path / "out", labels).check(["masks/"])
    with pytest.raises(ConfigError, match="is its masks"):
        output(tmp_path / "out", tmp_path / "out" / "masks").check(["masks/"])


@pytest.mark.parametrize("names", [("..", "x.png"), ("a/../../x", "0.png"), ("link", "0.png"), ("/abs", "0.png")])
def test_no_write_leaves_its_folder(names: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "out" / "a").mkdir(parents=True)
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    with pytest.raises(DataError, match="a result would be written outside of its folder"):
        below(tmp_path / "out", *names)
    assert below(tmp_path / "out", "a/b", "0.png") == tmp_path / "out" / "a" / "b" / "0.png"
