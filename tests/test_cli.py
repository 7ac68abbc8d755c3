"""The command line: verbs, options before the verb, exit codes, and what the scripts leave on the search path."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sam2_training import __version__
from sam2_training.cli import VERBS, main
from sam2_training.commands import train
from sam2_training.commands.command import find_command
from sam2_training.core.errors import EXIT_CODES
from sam2_training.core.places import PACKAGE, SCRIPTS

RECIPE = ("-c", "sam2.1_training/custom_finetune")
PROBE = """
import atexit, json, multiprocessing, os, sys
from importlib.util import find_spec
from pathlib import Path
def probe():
    package = sys.modules.get("sam2_training")
    if package is None:  # a helper process of Python itself
        return
    seen = {"evaluate": str(find_spec("evaluate")), "package": package.__file__, "path": sys.path, "argv": sys.argv}
    Path(os.environ["SEEN"], f"{os.getpid()}.json").write_text(json.dumps(seen))
    if os.environ.get("SPAWN") and multiprocessing.parent_process() is None:
        from sam2_training.core.errors import exit_code_lines
        child = multiprocessing.get_context("spawn").Process(target=exit_code_lines)
        child.start()
        child.join()
        assert child.exitcode == 0
atexit.register(probe)
"""
"""What each Python process does when it ends: it notes what it would find as `evaluate`, and its search path."""


def seen_by_processes(folder: Path, *command: str, timeout: float = 600, **variables: str) -> list[dict[str, object]]:
    """What every Python process of a command noted. The command must end with 0."""
    site, seen = folder / "site", folder / "seen"
    site.mkdir()
    seen.mkdir()
    (site / "sitecustomize.py").write_text(PROBE)
    environment = {**os.environ, "PYTHONPATH": str(site), "SEEN": str(seen), "OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(path.read_text()) for path in sorted(seen.iterdir())]


def check_seen(notes: list[dict[str, object]], count: int) -> None:
    assert len(notes) == count
    for note in notes:
        assert note["evaluate"] == "None", note
        assert note["package"] == str(PACKAGE / "__init__.py")
        assert str(SCRIPTS) not in note["path"]  # type: ignore[operator]


@pytest.mark.parametrize("words", [("train.py", "--help"), ("evaluate.py", "--help"), ("run.py", "needs", "--help")])
def test_no_script_can_be_imported_by_name_also_in_a_spawned_process(tmp_path: Path, words: tuple[str, ...]) -> None:
    script, *arguments = words
    check_seen(seen_by_processes(tmp_path, str(SCRIPTS / script), *arguments, SPAWN="1"), 2)


def test_scripts_start_with_a_safe_search_path_and_beside_an_impostor(tmp_path: Path) -> None:
    for name in ("sam2_training", "training", "logging"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the impostor ran')\n")
    notes = seen_by_processes(tmp_path, str(SCRIPTS / "train.py"), "--help", PYTHONSAFEPATH="1")
    check_seen(notes, 1)
    command = [sys.executable, str(SCRIPTS / "train.py"), *RECIPE, "--check", "model.checkpoint=null"]
    (tmp_path / "logging" / "__init__.py").unlink()
    (tmp_path / "logging").rmdir()  # on PYTHONPATH it would hide the standard library's from anybody
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    checked = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.slow
def test_the_agent_and_the_ranks_of_a_run_do_not_see_the_scripts_either(tmp_path: Path, real_data: Path) -> None:
    data = [
        f"dataset.{key}_folder={real_data}/vos/{name}" for key, name in (("img", "JPEGImages"), ("gt", "Annotations"))
    ]
    settings = [
        "model.name=architecture/tiny.yaml",
        "model.checkpoint=null",
        "scratch.resolution=64",
        "trainer.max_steps=1",
    ]
    more = ["dataset.val_fraction=0", "scratch.num_train_workers=1", f"launcher.experiment_log_dir={tmp_path / 'run'}"]
    command = [
        str(SCRIPTS / "train.py"),
        *RECIPE,
        "--num-gpus",
        "2",
        *data,
        *settings,
        *more,
        "trainer.accelerator=cpu",
    ]
    notes = seen_by_processes(tmp_path, *command)
    check_seen(notes, 4)
    assert sum("torchrun_agent" in note["argv"] for note in notes) == 1  # type: ignore[operator]


def test_every_verb_has_a_module_and_a_line_of_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert {path.stem for path in SCRIPTS.glob("*.py")} - {"run"} == {name for name in VERBS if not VERBS[name].hidden}
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    for name, verb in VERBS.items():
        assert find_command(name).description
        assert (verb.summary in shown) != verb.hidden


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_the_table_of_exit_codes(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([verb, "--help"])
    shown = capsys.readouterr().out
    assert f"usage: sam2-training {verb}" in shown
    assert len(re.findall(r"^ +\d+  \w", shown, flags=re.M)) == len(EXIT_CODES)


def test_version_and_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"sam2-training {__version__}\n"
    with pytest.raises(SystemExit, match="2"):
        main(["trian"])
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate", *RECIPE])
    assert "--checkpoint" in capsys.readouterr().err


def test_options_before_the_verb_are_defaults_for_verbs_that_take_them(capsys: pytest.CaptureFixture[str]) -> None:
    before = [*RECIPE, "--num-gpus", "2", "--data", "frames", "masks"]
    assert main([*before, "train", "--check", "model.checkpoint=null", "dataset.gt_folder=others"]) == 0
    shown = capsys.readouterr().out
    assert "gpus_per_node: 2" in shown
    assert "img_folder: frames" in shown
    assert "gt_folder: others" in shown
    assert main([*before, "health", "--results", "nowhere"]) == 1  # takes none of them


@pytest.mark.parametrize("verb", [("train",), ("evaluate", "--checkpoint", "weights.pt"), ("demo",)])
def test_a_rank_that_is_left_over_in_the_environment_is_refused(
    verb: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    recipe = () if verb == ("demo",) else RECIPE
    assert main([*verb, *recipe, f"launcher.experiment_log_dir={tmp_path / 'run'}"]) == 2
    assert "RANK=0; not set: LOCAL_RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT" in capsys.readouterr().err


def test_expected_failures_of_any_verb_are_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["train", "-c", "no_such_recipe"]) == 2
    assert "no recipe or file 'no_such_recipe'" in capsys.readouterr().err

    def fail(error: BaseException) -> None:
        def load(*_: object) -> None:
            raise error

        monkeypatch.setattr(train, "load", load)

    fail(OSError(28, "No space left on device", "/some/file"))
    assert main(["train", *RECIPE]) == 1
    assert capsys.readouterr().err == "Writing or reading failed: No space left on device (/some/file)\n"
    fail(ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        main(["train", *RECIPE])
