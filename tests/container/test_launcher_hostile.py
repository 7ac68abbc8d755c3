"""What comes from outside is data for the launcher and its scripts: compared, shown escaped, never evaluated."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.container.fake_host import NVIDIA_SMI, Host, host
from tests.places import REPOSITORY
from tests.waiting import WAIT_SECONDS

__all__ = ["host"]

COMMAND = "UID[$(touch {marker})0]"
"""bash's arithmetic takes this for an element of an array, and runs the command to find out which."""


def script(name: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [REPOSITORY / name, *arguments],
        env={**os.environ, **variables},
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=WAIT_SECONDS,
        check=False,
    )


@pytest.mark.parametrize("key", ["shm_mib", "disk_mib"])
@pytest.mark.parametrize("value", [COMMAND, "", "-1", "1e3", "0x10", "9999999999", "1 + 1", "\x1b[2J"])
def test_an_image_can_only_answer_with_numbers(host: Host, tmp_path: Path, key: str, value: str) -> None:
    marker = tmp_path / "ran"
    answer = {"weights": "", "shm_mib": "300", "disk_mib": "1", key: value.format(marker=marker)}
    (tmp_path / "answer").write_text("".join(f"{name}={text}\n" for name, text in answer.items()))
    host.docker(needs=f"cat {tmp_path}/answer")
    code, text = host.run()
    assert code == 2
    assert f"expected {key}=a number of at most nine digits, found '" in text
    assert not marker.exists()
    assert "\x1b" not in text
    assert host.arguments == []


def test_other_keys_of_an_image_s_answer_are_never_looked_at(host: Host, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "answer").write_text(f"x[$(touch {marker})]=1\nPATH=/nowhere\nweights=\nshm_mib=0300\ndisk_mib=08\n")
    host.docker(needs=f"cat {tmp_path}/answer")
    code, text = host.run()
    assert code == 0, text
    assert host.arguments[host.arguments.index("--shm-size") + 1] == "300m"
    assert not marker.exists()


@pytest.mark.parametrize("weights", ["../../etc/shadow", "/etc/passwd", "-rf", "a b", "x\x1b[2J'; id"])
def test_weights_that_an_image_names_are_a_file_name(host: Host, tmp_path: Path, weights: str) -> None:
    (tmp_path / "answer").write_text(f"weights={weights}\nshm_mib=300\ndisk_mib=1\n")
    host.docker(needs=f"cat {tmp_path}/answer")
    code, text = host.run()
    assert code == 2
    assert "expected weights=the name of a file" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SAM2_GPUS", "99999999999999999999"),
        ("SAM2_GPUS", "-1"),
        ("SAM2_GPUS", "00"),
        ("SAM2_GPUS", "1;id"),
        ("SAM2_GPUS", COMMAND),
        ("SAM2_SHM_SIZE", "1t"),
        ("SAM2_SHM_SIZE", "99999999999999999999g"),
        ("SAM2_SHM_SIZE", COMMAND + "g"),
        ("OMP_NUM_THREADS", "1 --privileged"),
        ("NCCL_DEBUG", "a\nb"),
        ("CUDA_VISIBLE_DEVICES", '0",capabilities=all'),
        ("SAM2_REQUIRE_GPU", "yes"),
        ("SAM2_IMAGE", "--privileged"),
        ("SAM2_IMAGE", "--volume=/:/host"),
        ("SAM2_IMAGE", "sam2-training:fake --privileged"),
        ("SAM2_IMAGE", "$(touch {marker})"),
        ("SAM2_CONFIG", "--help"),
    ],
)
def test_a_setting_of_another_form_is_refused_by_its_name(
    host: Host, tmp_path: Path, variable: str, value: str
) -> None:
    host.program("nvidia-smi", NVIDIA_SMI.format(driver="580.82"))
    marker = tmp_path / "ran"
    code, text = host.run(**{variable: value.format(marker=marker)})
    assert code == 2
    assert f"  - {variable}=" in text
    assert not marker.exists()
    assert host.arguments == []


@pytest.mark.parametrize("driver", [COMMAND, "NVIDIA-SMI has failed", "99999999999999999999.1"])
def test_a_driver_that_gives_no_version_is_none(host: Host, tmp_path: Path, driver: str) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "driver").write_text(driver.format(marker=marker))
    host.program("nvidia-smi", NVIDIA_SMI.replace("echo {driver}", f"cat {tmp_path}/driver"))
    code, text = host.run()
    assert code == 0, text
    assert "WARNING: running train on the CPU, which is slow: nvidia-smi does not say which NVIDIA driver" in text
    assert not marker.exists()


@pytest.mark.parametrize(("size", "shm"), [("08g", "8192m"), ("010g", "10240m"), ("0512m", "512m")])
def test_a_size_with_a_leading_zero_is_decimal(host: Host, size: str, shm: str) -> None:
    code, text = host.run(SAM2_SHM_SIZE=size)
    assert code == 0, text
    assert host.arguments[host.arguments.index("--shm-size") + 1] == shm


def test_a_number_of_gpus_with_a_leading_zero_is_decimal(host: Host) -> None:
    assert host.run(SAM2_GPUS="08")[0] == 0
    assert host.arguments[host.arguments.index("--num-gpus") + 1] == "8"


@pytest.mark.parametrize(
    "name", ["two words", 'quo"te', "sin'gle", "co:lon", "com,ma", "new\nline", "$(touch x)", "-v", "target=x,readonly"]
)
def test_a_folder_s_name_is_one_field_of_its_mount(host: Host, tmp_path: Path, name: str) -> None:
    data = tmp_path / name
    host.data.rename(data)
    code, text = host.run(SAM2_DATASET=str(data))
    assert code == 0, text
    field = str(data).replace('"', '""')
    assert f'type=bind,"source={field}",target=/workspace/dataset,readonly' in host.arguments


@pytest.mark.parametrize("name", ["with space.yaml", 'quo"te.yaml', "a,readonly=false,bind-propagation=shared.yaml"])
def test_a_recipe_s_name_cannot_change_how_it_is_mounted(host: Host, tmp_path: Path, name: str) -> None:
    recipe = tmp_path / name
    recipe.write_text("seed: 1\n")
    code, text = host.run(SAM2_CONFIG=str(recipe))
    assert code == 0, text
    mount = next(word for word in host.arguments if "/config/" in word and word.startswith("type="))
    field = name.replace('"', '""')
    target = f"target=/config/{field}"
    assert mount.endswith(f'"{target}",readonly' if name != "with space.yaml" else f"{target},readonly")
    assert host.arguments[host.arguments.index("--config") + 1] == f"/config/{name}"


def test_overrides_and_more_words_for_docker_reach_docker_as_they_are(host: Host) -> None:
    words = ["a b", "$(touch x)", 'x="y', "new\nline", "--privileged", "*"]
    assert host.run("--", *words, SAM2_DOCKER_ARGS="--cpus 8\n--env *")[0] == 0
    assert host.arguments[-len(words) :] == words
    image = host.arguments.index("sam2-training:fake")
    assert host.arguments[image - 4 : image] == ["--cpus", "8", "--env", "*"]


def test_words_given_to_make_are_not_evaluated(host: Host, tmp_path: Path) -> None:
    """make's own `$` is doubled, as everywhere in make."""
    marker = tmp_path / "ran"
    text = f'"; touch {marker}; " $$(touch {marker}) `touch {marker}`'
    done = subprocess.run(
        ["make", "--no-print-directory", "-C", REPOSITORY, "train", f"ARGS={text}", f'CONFIG=a";touch {marker};"'],
        env=host.environment,
        text=True,
        capture_output=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    words = text.replace("$$", "$").split()
    assert host.arguments[-len(words) :] == words
    assert host.arguments[host.arguments.index("--config") + 1] == f'a";touch {marker};"'
    assert not marker.exists()


def test_a_dry_run_can_be_pasted_whatever_is_in_it(host: Host, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    data = tmp_path / f"sin'gle $(touch {marker.name}) \x1b[2J\u202e"
    host.data.rename(data)
    words = ["a b", "it's", f"$(touch {marker})", "new\nline", "`id`", "back\\slash \x1b[2J", "a\u202etxt.exe"]
    code, text = host.run("--dry-run", "--", *words, SAM2_DATASET=str(data))
    assert code == 0, text
    assert not {"\x1b", "\u202e"} & set(text)
    command = text[text.index("docker run") :]
    subprocess.run(["bash", "-c", command], env=host.environment, cwd=tmp_path, check=True, timeout=WAIT_SECONDS)
    assert host.arguments[-len(words) :] == words
    assert f'type=bind,"source={data}",target=/workspace/dataset,readonly' in host.arguments
    assert not marker.exists()


@pytest.mark.parametrize("variable", ["SAM2_DATASET", "SAM2_OUTPUT", "SAM2_CHECKPOINTS", "SAM2_SOURCE", "SAM2_GPUS"])
def test_messages_show_controls_and_direction_marks_escaped(host: Host, tmp_path: Path, variable: str) -> None:
    value = str(tmp_path / "a\x1b[2J\u202eb\nc\td\u0085café")
    Path(value).touch()
    code, text = host.run(**{variable: value})
    assert code in (2, 4, 6)
    assert r"a\x1b[2J\xe2\x80\xaeb\x0ac\x09d\xc2\x85café" in text
    assert not {"\x1b", "\u202e", "\t", "\u0085"} & set(text)


def test_what_docker_says_cannot_command_the_terminal(host: Host) -> None:
    host.docker(version=r"printf 'Cannot connect \033[2J' >&2; exit 1")
    assert r"docker does not answer: Cannot connect \x1b[2J" in host.run()[1]


def test_no_script_takes_an_image_s_name_for_an_option(host: Host) -> None:
    for name, variable in (
        ("scripts/build_image.sh", "SAM2_IMAGE"),
        ("scripts/build_image.sh", "SAM2_BASE_IMAGE"),
        ("scripts/launcher/tensorboard.sh", "SAM2_IMAGE"),
    ):
        done = script(name, **{**host.environment, variable: "--privileged"})
        assert done.returncode == 2, done.stderr
        assert f"{variable}=--privileged is not the name of an image" in done.stderr
    done = script("scripts/launcher/tensorboard.sh", **{**host.environment, "SAM2_TENSORBOARD_PORT": "1:2"})
    assert "SAM2_TENSORBOARD_PORT=1:2 is not a port" in done.stderr
    assert host.arguments == []


@pytest.mark.parametrize("row", ["x.pt UID[$(touch {marker})0] {sha}", "../x.pt 10 {sha}", "-x 10 {sha}", "x.pt 10 no"])
def test_a_table_of_downloads_is_checked_line_by_line(tmp_path: Path, row: str) -> None:
    marker = tmp_path / "ran"
    table = tmp_path / "table"
    table.write_text(f"# http://127.0.0.1:9/\n{row.format(marker=marker, sha='0' * 64)}\n")
    done = script("checkpoints/download.sh", "--list", str(table), "--folder", str(tmp_path / "files"), "all")
    assert done.returncode == 2
    assert "has a line that is not" in done.stderr
    assert not marker.exists()


# ---- owners ----


def owners(folder: Path) -> dict[str, int]:
    return {path.name: path.lstat().st_uid for path in folder.rglob("*")}


@pytest.fixture
def results(host: Host, tmp_path: Path) -> Path:
    """A folder of results in which root has files of its own."""
    if os.geteuid() != 0:
        pytest.skip("only root can change the owner of a file")
    home = tmp_path / "home"
    (home / "sub").mkdir(parents=True)
    for name in ("key", "sub/file"):
        (home / name).touch()
    host.environment["SAM2_OUTPUT"] = str(home)
    return home


def runs_as(uid: int, home: Path) -> str:
    """What the container does: it makes a run's folder, or goes on with it; and a look at who owns what then."""
    return (
        f'mkdir -p "{home}/run" && touch "{home}/run/new" && chown -R {uid}:{uid} "{home}/run/new"; '
        f'[ "$(stat -c %u "{home}/run")" != 0 ] || chown {uid}:{uid} "{home}/run"; '
        f'find "{home}" -printf "%f %U\\n" >"$HOME/during"'
    )


def test_root_lends_the_folder_and_the_runs_in_it_and_nothing_else(host: Host, results: Path, tmp_path: Path) -> None:
    (results / "of a user").touch()
    os.chown(results / "of a user", 10001, 10001)
    host.docker(during=runs_as(10001, results))
    code, text = host.run()
    assert code == 0, text
    during = dict(line.rsplit(" ", 1) for line in (tmp_path / "during").read_text().splitlines())
    assert (during["key"], during["file"], during["sub"], during["home"]) == ("0", "0", "0", "10001")
    after = {"key": 0, "sub": 0, "file": 0, "of a user": 10001, "run": 0, "new": 0}
    assert owners(results) == after
    assert results.stat().st_uid == 0
    # The next start of the same run finds its files writable.
    host.docker(during=f'find "{results}" -printf "%f %U\\n" >"$HOME/during"')
    assert host.run()[0] == 0
    during = dict(line.rsplit(" ", 1) for line in (tmp_path / "during").read_text().splitlines())
    assert (during["run"], during["new"], during["key"]) == ("10001", "10001", "0")
    assert owners(results) == after


def test_files_that_another_run_still_writes_keep_their_owner(host: Host, results: Path, tmp_path: Path) -> None:
    running = f'[ ! -e "{tmp_path}/arguments" ] || echo 1234'  # from the start of our container on
    host.docker(during=runs_as(10001, results), running=running)
    code, text = host.run()
    assert code == 0
    assert owners(results)["new"] == 10001
    assert f"Another run still writes to {results}" in text


def test_under_sudo_only_what_the_run_made_belongs_to_the_caller(host: Host, results: Path) -> None:
    host.docker(during=runs_as(1234, results))
    code, text = host.run(SUDO_UID="1234", SUDO_GID="1234")
    assert code == 0, text
    assert "1234:1234" in host.arguments
    assert owners(results) == {"key": 0, "sub": 0, "file": 0, "run": 1234, "new": 1234}
    assert results.stat().st_uid == 0


def test_under_sudo_folders_that_the_launcher_makes_belong_to_the_caller(host: Host, results: Path) -> None:
    code, text = host.run(SUDO_UID="1234", SUDO_GID="1234", SAM2_OUTPUT=str(results / "a" / "b"))
    assert code == 0, text
    assert owners(results) == {"key": 0, "sub": 0, "file": 0, "a": 1234, "b": 1234}


@pytest.mark.parametrize("variables", [{"SUDO_UID": COMMAND, "SUDO_GID": "1"}, {"SUDO_UID": "1"}])
def test_numbers_of_sudo_are_numbers(host: Host, results: Path, tmp_path: Path, variables: dict[str, str]) -> None:
    marker = tmp_path / "ran"
    code, text = host.run(**{name: value.format(marker=marker) for name, value in variables.items()})
    assert code == 2
    assert "are not the numbers that sudo sets" in text
    assert not marker.exists()
    assert owners(results) == {"key": 0, "sub": 0, "file": 0}
