"""A real docker engine, the real image, and a caller who is not root."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.conftest import state_hash, weights_hash
from tests.places import REPOSITORY
from tests.waiting import WAIT_SECONDS, wait_for_step

STAND_IN = "sam2-base-stand-in:bookworm"
CALLER_UID = 23456
TINY = (
    "model.name=architecture/tiny.yaml",
    "model.checkpoint=null",
    "scratch.resolution=64",
    "scratch.num_frames=3",
    "scratch.num_epochs=1",
    "dataset.val_fraction=0",
    "scratch.num_train_workers=1",
    "scratch.base_lr=1e-4",
    "scratch.vision_lr=1e-4",
    "checkpoint.every_n_steps=1",
    "trainer.log_every_n_steps=1",
)
"""Seven steps, one on each of the real videos."""
RUN = "sam2.1_training/custom_finetune"


def run(
    *command: str | Path, env: dict[str, str] | None = None, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """A finished command with its output; the test fails only on what it checks itself."""
    words = [str(word) for word in command]
    return subprocess.run(words, env=env, text=True, capture_output=True, timeout=timeout, check=False)


def unavailable(reason: str) -> None:
    """Skips, or fails where the container must be tested (CI sets SAM2_REQUIRE_DOCKER=1)."""
    if os.environ.get("SAM2_REQUIRE_DOCKER") == "1":
        pytest.fail(f"SAM2_REQUIRE_DOCKER=1, but {reason}")
    pytest.skip(reason)


def _client_with_buildkit() -> Path | None:
    """A docker client that can build with BuildKit: before 23 it is built in, later ones need the buildx plugin."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        client = Path(folder) / "docker"
        if os.access(client, os.X_OK):
            version = re.search(r"version (\d+)", run(client, "--version").stdout)
            if version and (int(version[1]) < 23 or run(client, "buildx", "version").returncode == 0):
                return client
    return None


@pytest.fixture(scope="session")
def engine_environment() -> dict[str, str]:
    """The environment in which `docker` is a client with BuildKit that reaches an engine."""
    client = _client_with_buildkit()
    if client is None:
        unavailable("there is no docker client with BuildKit")
    assert client is not None
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SAM2_")}
    environment["PATH"] = f"{client.parent}{os.pathsep}{os.environ['PATH']}"
    answer = run(client, "info", env=environment)
    if answer.returncode != 0:
        unavailable(f"no docker engine answers: {answer.stderr.strip().splitlines()[-1:]}")
    return environment


@pytest.fixture(scope="session")
def build_environment(engine_environment: dict[str, str]) -> dict[str, str]:
    """What scripts/build_image.sh is told here: a base that can be had, and how the network is reached."""
    environment = dict(engine_environment)
    given = {key: os.environ[key] for key in ("SAM2_BASE_IMAGE", "SAM2_CA_FILE") if key in os.environ}
    if "SAM2_BASE_IMAGE" not in given and os.geteuid() == 0 and shutil.which("debootstrap"):
        made = run(Path(__file__).parent / "make_base.sh", STAND_IN, env=environment)
        assert made.returncode == 0, made.stderr
        given["SAM2_BASE_IMAGE"] = STAND_IN
    authorities = os.environ.get("SSL_CERT_FILE", "")
    if "SAM2_CA_FILE" not in given and Path(authorities).is_file():
        given["SAM2_CA_FILE"] = authorities  # this machine is behind a proxy with a certificate of its own, perhaps
    return {**environment, **given, "SAM2_BUILD_ARGS": "--network host --progress plain"}


@dataclass
class Built:
    """An image and how long its build took."""

    name: str
    seconds: float
    log: str


def build(environment: dict[str, str], *options: str, folder: Path = REPOSITORY, name: str | None = None) -> Built:
    """Builds the real Dockerfile; fails the test with the build's last lines if that does not work."""
    began = time.monotonic()
    if name is not None:
        environment = {**environment, "SAM2_IMAGE": name}
    script = folder / "scripts" / "build_image.sh"
    printed = run(script, "--print-name", env=environment).stdout.strip()
    built = run(script, *options, env=environment, timeout=1500)
    assert built.returncode == 0, (built.stdout + built.stderr)[-4000:]
    return Built(printed, time.monotonic() - began, built.stdout + built.stderr)


@pytest.fixture(scope="session")
def built(build_environment: dict[str, str]) -> Built:
    """The image that Dockerfile.training makes."""
    return build(build_environment)


@pytest.fixture(scope="session")
def image(built: Built) -> str:
    """The image's name."""
    return built.name


def inspect(environment: dict[str, str], image: str) -> dict[str, object]:
    answer = run("docker", "image", "inspect", image, env=environment)
    assert answer.returncode == 0, answer.stderr
    found: dict[str, object] = json.loads(answer.stdout)[0]
    return found


def in_container(environment: dict[str, str], image: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`docker run` as the launcher runs it, with more options and the command."""
    options = ["--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp:rw,exec,mode=1777", "--cap-drop", "ALL"]
    return run("docker", "run", *options, "--security-opt", "no-new-privileges", *arguments, env=environment)


@pytest.fixture(scope="session")
def public_folder() -> Iterator[Path]:
    """A folder that every user may enter, as pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="sam2-container-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def project(public_folder: Path) -> Path:
    """A copy of this project that every user can read, as after `git clone`."""
    folder = public_folder / "project"
    listed = run("git", "-C", REPOSITORY, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    assert listed.returncode == 0, listed.stderr
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    return folder


@dataclass
class Caller:
    """Somebody who calls the launcher: where root runs the tests another user, who may use docker and owns a folder."""

    project: Path
    output: Path
    environment: dict[str, str]
    as_user: list[str] = field(default_factory=list)
    uid: int = 0

    def start(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        """A command in the project's folder, in a process group of its own, with signals as a terminal sets them."""
        environment = {**self.environment, "SAM2_OUTPUT": str(self.output), "HOME": str(self.output), **variables}
        return subprocess.Popen(
            [*self.as_user, *command],
            cwd=self.project,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def call(self, *command: str, **variables: str) -> tuple[int, str]:
        """Exit code and output of a command."""
        process = self.start(*command, **variables)
        try:
            output, _ = process.communicate(timeout=WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail(f"no end after 300 s:\n{process.communicate()[0]}")
        return process.returncode, output

    def train(self, *overrides: str, **variables: str) -> tuple[int, str]:
        return self.call("./run_training_docker.sh", "--", *TINY, *overrides, **variables)

    @property
    def folder(self) -> Path:
        return self.output / RUN

    @property
    def weights(self) -> str:
        return weights_hash(self.folder / "checkpoints" / "checkpoint.pt")

    def wait_for_step(self, process: subprocess.Popen[str], step: int) -> None:
        wait_for_step(self.folder, process, step)


@pytest.fixture
def new_caller(
    project: Path, public_folder: Path, image: str, build_environment: dict[str, str], real_data: Path
) -> Callable[[str], Caller]:
    """Makes a caller with an empty output folder; the dataset is the real clips, and the image is there."""

    def make(name: str) -> Caller:
        output = public_folder / name
        output.mkdir()
        environment = {
            **build_environment,
            "SAM2_DATASET": str(real_data / "vos"),
            "SAM2_IMAGE": image,
            "OMP_NUM_THREADS": "1",
        }
        if os.geteuid() != 0:
            return Caller(project, output, environment, uid=os.geteuid())
        os.chown(output, CALLER_UID, CALLER_UID)
        group = Path("/var/run/docker.sock").stat().st_gid
        as_user = ["setpriv", f"--reuid={CALLER_UID}", f"--regid={CALLER_UID}", f"--groups={group}"]
        return Caller(project, output, environment, as_user, CALLER_UID)

    return make


__all__ = ["Built", "Caller", "build", "in_container", "inspect", "run", "state_hash"]
