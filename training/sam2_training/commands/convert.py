"""Command: convert."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from sam2_training.commands.command import Command
from sam2_training.commands.failures import require_writable_output
from sam2_training.core.errors import EXIT_FINISHED, ConfigError, DataError
from sam2_training.core.outputs import OutputFolder
from sam2_training.core.progress_bar import Progress
from sam2_training.core.schema import parse_section
from sam2_training.core.settings import keys_of, value_problems
from sam2_training.core.terminal import say
from sam2_training.core.vocabulary import Vocabulary
from sam2_training.data.config import DatasetConfig
from sam2_training.writers import WRITERS

FOLDER_PAIRS = (("JPEGImages", "Annotations"), ("images", "masks"), ("img", "gt"), ("frames", "masks"))
"""(frames, masks) as folders of one dataset are mostly called."""
STANDARD = ("davis", "coco")
SECTION = "dataset"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of convert."""
    parser.add_argument(
        "input", metavar="IN", type=Path, help="annotation file, or folder of annotations, or of frames and masks"
    )
    parser.add_argument("output", metavar="OUT", type=Path, help="folder for the results")
    parser.add_argument("--frames", metavar="DIR", help="folder of the videos' frames (dataset.img_folder)")
    parser.add_argument(
        "--to",
        action="append",
        choices=[*WRITERS],
        help=f"format to write; may be given again (default: {' and '.join(STANDARD)})",
    )
    parser.add_argument("--no-frames", action="store_true", help="write no images/, masks only")


def run(arguments: argparse.Namespace) -> int:
    """Reads the dataset, writes it in the other formats, and says what they had no place for; the exit code."""
    config = dataset_config(arguments.input, arguments.frames, arguments.overrides)
    # Importing what reads files takes a second; a wrong setting is said before.
    from sam2_training.data.index import open_index
    from sam2_training.writers import open_writer
    from sam2_training.writers.conversion import Conversion, summary

    output = OutputFolder(arguments.output, "OUT", _inputs(config))
    index = open_index(config)
    if not len(index):
        raise DataError(f"there is no video to convert: {index.source.location}")
    conversion = Conversion(index, with_frames=not arguments.no_frames)
    chosen = list(dict.fromkeys(arguments.to or STANDARD))
    writers = [open_writer(name, output.folder) for name in chosen]
    files = conversion.files(writers)
    output.check(files)
    require_writable_output(output.folder)
    output.record(files)
    num_frames = sum(index.table.num_frames_of(number) for number in range(len(index)))
    with Progress(num_frames, "frames", sys.stderr) as progress, ExitStack() as stack:
        for writer in writers:
            stack.enter_context(writer)
        conversion.run(output.folder, writers, lambda name: progress.reach(progress.done + 1, name))
    for line in [*summary(index, writers), *_how_to_train(output.folder, chosen, not arguments.no_frames)]:
        say(line)
    return EXIT_FINISHED


def dataset_config(given: Path, frames: str | None, overrides: Sequence[str]) -> DatasetConfig:
    """The dataset that IN, --frames and settings dataset.key=value name. Raises ConfigError."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if not given.exists():
        raise ConfigError(f"IN does not exist: {given}")
    wrong = [word for word in overrides if not word.lstrip("+").startswith(f"{SECTION}.") or "=" not in word]
    if wrong:
        raise ConfigError(f"{wrong[0]!r} is not a setting of a dataset; write {SECTION}.key=value")
    settings = [f"{SECTION}.{key}={value}" for key, value in _places(given, frames).items()]
    try:
        values = OmegaConf.to_container(OmegaConf.from_dotlist([*settings, *(word.lstrip("+") for word in overrides)]))
    except (OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"the settings cannot be read: {str(error).splitlines()[0]}") from error
    section = values[SECTION] if isinstance(values, dict) else {}
    problems: list[str] = []
    names = [key.path for key in keys_of(DatasetConfig, SECTION)]
    config: DatasetConfig = parse_section(DatasetConfig, section, SECTION, problems, Vocabulary(names))
    if config.val_fraction:
        problems.append(f"{SECTION}.val_fraction has no effect here: all videos are written; remove it")
    problems = problems or [*value_problems(config, SECTION), *config.problems(SECTION)]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return config


def _places(given: Path, frames: str | None) -> dict[str, str]:
    for images, masks in FOLDER_PAIRS:
        if (given / images).is_dir() and (given / masks).is_dir():
            return {"img_folder": frames or str(given / images), "gt_folder": str(given / masks)}
    return {"data_path": str(given), **({"img_folder": frames} if frames else {})}


def _inputs(config: DatasetConfig) -> dict[str, str | Path | None]:
    keys = ("data_path", "img_folder", "gt_folder", "file_list_txt")
    return {f"{SECTION}.{key}": getattr(config, key) for key in keys}


def _how_to_train(folder: Path, formats: Sequence[str], with_frames: bool) -> Iterator[str]:
    if not with_frames:
        return
    if "davis" in formats:
        yield f"To train on it: {SECTION}.img_folder={folder}/images {SECTION}.gt_folder={folder}/masks"
    if "coco" in formats:
        yield f"As COCO-video: {SECTION}.img_folder={folder}/images {SECTION}.data_path={folder}/annotations.json"


COMMAND = Command(
    description="Write a dataset of any format that can be read as a folder of frames and one of mask PNGs per video, "
    "as COCO-video, and in other formats; says what a format has no place for.",
    run=run,
    shared=("overrides",),
    add_arguments=add_arguments,
)
