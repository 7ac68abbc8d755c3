"""Command: predict."""

from __future__ import annotations

import argparse
from pathlib import Path

from sam2_training.commands.command import Command
from sam2_training.commands.failures import require_writable_output
from sam2_training.core.errors import EXIT_FINISHED, ConfigError
from sam2_training.core.outputs import OutputFolder
from sam2_training.core.terminal import say
from sam2_training.engine.config import LoadedConfig
from sam2_training.engine.devices import on_this_machine
from sam2_training.engine.hangs import ends_when_stuck
from sam2_training.engine.heartbeat import command_heartbeat
from sam2_training.tasks import load_config
from sam2_training.vos.config import VosConfig
from sam2_training.vos.prediction.object_prompts import BOX_FORM, POINT_FORM, PromptArguments
from sam2_training.writers import WRITERS

DEFAULT_FRAMES_PER_SECOND = 24.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of predict."""
    parser.add_argument(
        "input",
        metavar="INPUT",
        help="a folder of frames, or an mp4; how frames with an EXIF orientation are read: dataset.orientation="
        "stored|shown",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--mask", type=Path, metavar="FILE.png", help="mask of the first frame, pixel value = object id"
    )
    parser.add_argument(
        "--boxes",
        type=Path,
        metavar="FILE",
        help="boxes of the first frame: COCO (.json) or YOLO (.txt); objects are numbered from 1 in the file's order",
    )
    parser.add_argument("--box", action="append", default=[], metavar="BOX", help=f"{BOX_FORM}; may be given again")
    parser.add_argument(
        "--point", action="append", default=[], metavar="POINT", help=f"{POINT_FORM}; may be given again"
    )
    parser.add_argument(
        "--format",
        choices=[*WRITERS],
        default="davis",
        help="how masks are written, with the objects' ids (default: davis, PNGs in masks/); see docs/data.md",
    )
    parser.add_argument(
        "--fps",
        type=float,
        metavar="N",
        help=f"frames a second of the overlay (default: the video's own, {DEFAULT_FRAMES_PER_SECOND:g} for a folder)",
    )
    parser.add_argument("--no-overlay", action="store_true", help="leave overlay.mp4 out")


def run(arguments: argparse.Namespace) -> int:
    """Checks the command line, tracks and writes the files; the exit code."""
    if arguments.fps is not None and not 0 < arguments.fps < 1000:
        raise ConfigError(f"--fps {arguments.fps:g} must be above 0 and below 1000")
    video_path, overrides = input_and_overrides([arguments.input, *arguments.overrides])
    given = PromptArguments.parse(arguments.mask, arguments.boxes, arguments.box, arguments.point)
    return track(arguments, video_path, load_config(arguments.config, overrides, VosConfig), given)


def input_and_overrides(words: list[str]) -> tuple[Path, list[str]]:
    """The input and the settings among the words without an option, which may come in any order. Raises ConfigError."""
    inputs = [word for word in words if "=" not in word] or [word for word in words if Path(word).exists()]
    if len(inputs) != 1:
        found = f"found {', '.join(inputs)}" if inputs else "found none"
        raise ConfigError(f"expected one INPUT, a folder of frames or an mp4, besides settings key=value; {found}")
    return Path(inputs[0]), [word for word in words if word != inputs[0]]


def track(
    arguments: argparse.Namespace, video_path: Path, loaded: LoadedConfig[VosConfig], given: PromptArguments
) -> int:
    """Tracks what is prompted and writes the files; the exit code."""
    # torch takes a second or two to import; nothing that needs it has been asked for until here.
    from sam2_training.core.ranks import choose_device
    from sam2_training.engine.precision import Precision
    from sam2_training.vos.evaluation.tracker import VideoTracker
    from sam2_training.vos.model.adapter_files import load_result
    from sam2_training.vos.model.build import build_for_inference
    from sam2_training.vos.prediction.predict import (
        mask_writer,
        open_video,
        predict,
        result_files,
        written_video,
    )

    loaded = on_this_machine(loaded)
    config, make_overlay = loaded.config, not arguments.no_overlay
    output = OutputFolder(arguments.output, "--output", _inputs(arguments, video_path))
    device = choose_device(config.trainer.accelerator, 0)
    precision = Precision(config.trainer.precision, device)
    stuck = ends_when_stuck(config.loader.timeout_minutes, output.folder)
    with stuck, command_heartbeat() as heartbeat, open_video(video_path, config.dataset.orientation) as video:
        height, width = video.read_frame(0).shape[:2]
        prompts = given.prompts(video.frame_names[0], (height, width), config.dataset.label_rules)
        writer = mask_writer(arguments.format, output.folder)
        files = result_files(writer, written_video(video, prompts), make_overlay)
        output.check(files)
        require_writable_output(output.folder)
        network = build_for_inference(config)
        load_result(network, arguments.checkpoint, config.model)
        what = f"{len(prompts)} object(s) through {video.num_frames} frames of {width}x{height}"
        say(f"Tracking {what}, on {device.type}, precision {precision.name}")
        for remark in [*(f"WARNING: {note}" for note in loaded.notes), *video.index.remarks()]:
            say(remark)
        output.record(files)
        predicted = predict(
            VideoTracker(network.to(device), device, precision.autocast_dtype),
            video,
            prompts,
            writer,
            arguments.fps or video.index.source.frames_per_second() or DEFAULT_FRAMES_PER_SECOND,
            make_overlay=make_overlay,
            enable_bar=config.trainer.enable_progress_bar,
            heartbeat=heartbeat,
        )
    if predicted.num_empty:
        say(f"In {predicted.num_empty} of {predicted.num_frames} frames no object was found; their masks are empty.")
    for line in writer.lost():
        say(f"Not kept in {arguments.format}: {line}")
    roots = dict.fromkeys(f"{file.partition('/')[0]}/" if "/" in file else file for file in files)
    say(f"{output.folder}/  {'  '.join(roots)}")
    return EXIT_FINISHED


def _inputs(arguments: argparse.Namespace, video_path: Path) -> dict[str, str | Path | None]:
    given = {f"--{name}": getattr(arguments, name) for name in ("mask", "boxes", "checkpoint", "config")}
    return {"INPUT": video_path, **given}


COMMAND = Command(
    description="Track objects through a video from a prompt on its first frame: masks, an overlay video, a contact "
    "sheet.",
    run=run,
    shared=("config", "checkpoint", "overrides"),
    add_arguments=add_arguments,
)
