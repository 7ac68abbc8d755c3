"""The image itself: what is in it, who runs in it, what it says of itself."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.markers import Marker
from sam2_training import __version__

from tests.container.conftest import Built, build, in_container, inspect, run
from tests.places import REPOSITORY
from tests.waiting import WAIT_SECONDS

pytestmark = pytest.mark.slow


def locked(python_version: str, lock: str = "requirements.lock") -> dict[str, str]:
    """{distribution: version} that the lock names for Linux on x86-64 and a Python version."""
    environment = {
        "python_full_version": python_version,
        "python_version": ".".join(python_version.split(".")[:2]),
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "os_name": "posix",
    }
    text = (REPOSITORY / lock).read_text()
    pins = re.findall(r"^([\w.-]+)==([^\s;]+)(?: ; (.*?))? \\$", text, flags=re.M)
    return {
        normal(name): version for name, version, marker in pins if not marker or Marker(marker).evaluate(environment)
    }


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_installed_packages_are_exactly_those_of_the_lock(image: str, build_environment: dict[str, str]) -> None:
    program = (
        "import importlib.metadata as m, json, platform; "
        "print(json.dumps([platform.python_version(), [(d.name, d.version) for d in m.distributions()]]))"
    )
    shown = in_container(build_environment, image, image, "/opt/venv/bin/python", "-I", "-c", program)
    python_version, pairs = json.loads(shown.stdout)
    installed = {normal(name): version.split("+")[0] for name, version in pairs}
    assert installed == locked(python_version)
    assert installed["torch"] == importlib.metadata.version("torch").split("+")[0]


def test_the_size_of_the_image_is_shown(
    built: Built, build_environment: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    """torch and CUDA's libraries are 5.7 GB of it; all that is ours, the tools and the base must fit into the rest."""
    size = inspect(build_environment, built.name)["Size"]
    assert isinstance(size, int)
    record_property("shown", f"image {built.name}: {size / 1e9:.2f} GB, built in {built.seconds:.0f} s")
    assert 1e9 < size < 8e9


def test_installers_and_caches_are_not_in_the_image(image: str, build_environment: dict[str, str]) -> None:
    script = (
        "for tool in uv pip g++ make git curl; do command -v $tool; done; "
        "ls /opt; ls /var/lib/apt/lists /var/cache/apt/archives /var/cache/uv 2>/dev/null | grep -v :"
    )
    shown = in_container(build_environment, image, image, "sh", "-c", script)
    assert shown.stdout.split() == ["venv"], shown.stdout


def test_a_c_extension_can_be_compiled_as_torch_compile_does(image: str, build_environment: dict[str, str]) -> None:
    script = (
        "printf '#include <Python.h>\\nint x;' > /tmp/x.c && "
        "gcc -shared -fPIC -I$(python -c 'import sysconfig; print(sysconfig.get_path(\"include\"))') "
        '/tmp/x.c -o /tmp/x.so && python -c \'import ctypes; ctypes.CDLL("/tmp/x.so"); print("loaded")\''
    )
    shown = in_container(build_environment, image, image, "sh", "-c", script)
    assert shown.stdout.strip() == "loaded", shown.stderr


@pytest.mark.parametrize("user", [None, "12345:12345"])
def test_any_user_but_root_runs_it_without_network_on_a_read_only_root(
    image: str, build_environment: dict[str, str], user: str | None
) -> None:
    script = (
        "id -u; cat /proc/1/comm; touch /opt/venv/x /workspace/x 2>&1 | grep -c 'Read-only\\|denied'; "
        "ls /sys/class/net; grep -E 'CapEff|NoNewPrivs' /proc/self/status; "
        "python -c 'import getpass, os, torch; print(getpass.getuser(), os.path.expanduser(\"~\"))'; "
        "for v in TORCHINDUCTOR_CACHE_DIR TRITON_CACHE_DIR MPLCONFIGDIR HOME; do "
        'eval "mkdir -p \\$$v && touch \\$$v/x && echo $v"; done'
    )
    options = ["--user", user] if user else []
    shown = in_container(build_environment, image, *options, image, "sh", "-c", script)
    lines = shown.stdout.split("\n")
    assert lines[0] == (user.split(":")[0] if user else "10001")
    assert lines[1:4] == ["tini", "2", "lo"], shown.stdout + shown.stderr
    assert lines[4].split() == ["CapEff:", "0000000000000000"]
    assert lines[5].split() == ["NoNewPrivs:", "1"]
    assert lines[6] == "sam2 /tmp"
    assert lines[7:11] == ["TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "MPLCONFIGDIR", "HOME"]


def test_the_labels_say_what_the_image_is(image: str, build_environment: dict[str, str]) -> None:
    found = inspect(build_environment, image)
    config = found["Config"]
    assert isinstance(config, dict)
    labels = config["Labels"]
    base = inspect(build_environment, labels["org.opencontainers.image.base.name"])
    assert labels["org.opencontainers.image.title"] == "sam2-training"
    assert labels["org.opencontainers.image.base.digest"] in (base["Id"], *base.get("RepoDigests", []))  # type: ignore[misc]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", labels["org.opencontainers.image.created"])
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", labels["org.opencontainers.image.revision"])
    lock = run("sha256sum", REPOSITORY / "requirements.lock").stdout.split()[0]
    assert labels["sam2-training.lock.sha256"] == lock
    assert "org.opencontainers.image.source" in labels
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"] == ["/usr/bin/tini", "--", "/usr/local/bin/sam2-training"]


def test_changed_code_rebuilds_no_layer_of_dependencies(
    image: str, build_environment: dict[str, str], project: Path
) -> None:
    changed = project / "training" / "sam2_training" / "core" / "rng.py"
    original = changed.read_text()
    changed.write_text(original + "\n# one more line\n")
    try:
        second = build(build_environment, folder=project, name="sam2-training:changed-code")
        before, after = (layers(build_environment, name) for name in (image, "sam2-training:changed-code"))
        # The last five are the code: folders that git has, files, weights' table, recipes, package.
        assert after[:-1] == before[:-1]
        assert after[-1] != before[-1]
        assert "CACHED" in second.log
    finally:
        changed.write_text(original)
        run("docker", "rmi", "sam2-training:changed-code", env=build_environment)


def test_verbs_run_the_code_that_is_mounted(
    image: str, build_environment: dict[str, str], project: Path, public_folder: Path
) -> None:
    copy = public_folder / "changed-project"
    shutil.copytree(project, copy)
    package = copy / "training" / "sam2_training" / "__init__.py"
    package.write_text(package.read_text() + '\n__version__ = "mounted"\n')
    mount = ("--volume", f"{copy}:/workspace:ro")
    for command in (["--version"], ["sam2-training", "--version"], ["python", "training/run.py", "--version"]):
        assert in_container(build_environment, image, *mount, image, *command).stdout == "sam2-training mounted\n"
        built_in = in_container(build_environment, image, image, *command).stdout
        assert built_in == f"sam2-training {__version__}\n"
    # A new verb is a module and a line, here too.
    commands = copy / "training" / "sam2_training" / "commands"
    shutil.copy(commands / "needs.py", commands / "wants.py")
    table = copy / "training" / "sam2_training" / "cli.py"
    table.write_text(table.read_text().replace("VERBS = {", 'VERBS = {\n    "wants": Verb("print what a run wants"),'))
    answer = in_container(build_environment, image, *mount, image, "wants", "-c", "custom_finetune")
    assert "shm_mib=" in answer.stdout, answer.stderr


def layers(environment: dict[str, str], image: str) -> list[str]:
    root = inspect(environment, image)["RootFS"]
    assert isinstance(root, dict)
    return list(root["Layers"])


def test_health_follows_the_heartbeat(image: str, build_environment: dict[str, str], public_folder: Path) -> None:
    def health(name: str, script: str) -> str:
        options = [
            "--detach",
            "--rm",
            "--health-interval",
            "1s",
            "--health-start-period",
            "1s",
            "--health-retries",
            "1",
        ]
        run("docker", "run", "--name", name, *options, image, "sh", "-c", script, env=build_environment)
        try:
            until = time.monotonic() + WAIT_SECONDS
            while time.monotonic() < until:
                asked = run(
                    "docker", "inspect", "--format", "{{.State.Health.Status}}", name, env=build_environment
                ).stdout.strip()
                if asked in ("healthy", "unhealthy"):
                    return asked
                time.sleep(0.2)
            return asked
        finally:
            run("docker", "kill", name, env=build_environment)

    now = "cut -d. -f1 /proc/uptime"
    machine = "$(hostname)/$(cat /proc/sys/kernel/random/boot_id)"
    beat = f"mkdir -p sam2_logs/r/logs; echo $({now}) 3 {machine} > sam2_logs/r/logs/heartbeat; sleep 60"
    assert health("sam2-test-alive", beat) == "healthy"
    assert health("sam2-test-silent", beat.replace(now, f"expr $({now}) - 3600")) == "unhealthy"
    assert health("sam2-test-no-run", "sleep 60") == "unhealthy"
    # A long evaluation writes no run's heartbeat, and its output may be anywhere.
    of_a_command = beat.replace("sam2_logs/r/logs", "/tmp/sam2-training-10001/7/logs")
    assert health("sam2-test-command", of_a_command) == "healthy"


def test_no_certificate_of_the_build_is_in_the_image(image: str, build_environment: dict[str, str]) -> None:
    history = run("docker", "history", "--no-trunc", image, env=build_environment).stdout
    assert "BEGIN CERTIFICATE" not in history
    shown = in_container(
        build_environment, image, image, "sh", "-c", "ls /run/secrets /usr/local/share/ca-certificates"
    )
    assert ".pem" not in shown.stdout
    assert ".crt" not in shown.stdout


def test_the_test_stage_passes_its_tests(image: str, build_environment: dict[str, str]) -> None:
    name = "sam2-training:test-stage"
    build(build_environment, "--target", "test", name=name)
    try:
        command = ["python", "-m", "pytest", "-p", "no:cacheprovider", "tests/core"]
        shown = in_container(build_environment, name, "--env", "OMP_NUM_THREADS=1", name, *command)
        assert shown.returncode == 0, shown.stdout[-3000:]
        assert re.search(r"\d+ passed", shown.stdout)
    finally:
        run("docker", "rmi", name, env=build_environment)
