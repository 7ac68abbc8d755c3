"""Dockerfile, build context and shell scripts, read and held to rules."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.container.conftest import unavailable
from tests.places import REPOSITORY

DOCKERFILE = (REPOSITORY / "Dockerfile.training").read_text()
INSTRUCTIONS = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.M)).splitlines()


def test_every_base_is_pinned_by_digest() -> None:
    base = re.search(r"^ARG BASE_IMAGE=(\S+)$", DOCKERFILE, flags=re.M)
    assert base
    assert re.fullmatch(r"nvidia/cuda:13\.0\.2-base-ubuntu24\.04@sha256:[0-9a-f]{64}", base[1])
    stages = {"${BASE_IMAGE}"}
    for line in INSTRUCTIONS:
        if line.startswith("FROM "):
            words = line.split()
            assert words[1] in stages, line
            stages.add(words[-1])
    assert {"builder", "runtime", "test"} <= stages


def test_nothing_is_latest_piped_into_a_shell_or_secret() -> None:
    compose = (REPOSITORY / "docker-compose.yml").read_text()
    for text in (DOCKERFILE, compose):
        assert ":latest" not in text
        assert not re.search(r"(curl|wget)[^\n]*\|", text)
    for line in INSTRUCTIONS:
        if line.startswith(("ARG ", "ENV ")):
            assert not re.search(r"(PASSWORD|TOKEN|SECRET|API_KEY|CREDENTIAL)", line, flags=re.I), line


def test_the_run_is_not_root_and_the_entry_point_is_exec_form_with_an_init() -> None:
    runtime = DOCKERFILE[DOCKERFILE.index("AS runtime") : DOCKERFILE.index("AS test")]
    assert re.search(r"^USER 10001:10001$", runtime, flags=re.M)
    assert 'ENTRYPOINT ["/usr/bin/tini", "--", "/usr/local/bin/sam2-training"]' in runtime
    assert "HEALTHCHECK" in runtime
    assert "STOPSIGNAL SIGTERM" in runtime
    assert DOCKERFILE.rstrip().endswith("FROM runtime")


def test_the_build_context_is_an_allow_list() -> None:
    lines = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        word
        for line in INSTRUCTIONS
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    assert copied <= allowed
    assert not {".git", ".env", "dataset", "sam2_logs", "checkpoints"} & allowed


def test_shell_scripts_are_clean() -> None:
    if not shutil.which("shellcheck"):
        unavailable("shellcheck is not installed")
    scripts = [*REPOSITORY.glob("scripts/**/*.sh"), *REPOSITORY.glob("*.sh"), *REPOSITORY.glob("checkpoints/*.sh")]
    scripts += [REPOSITORY / ".ci" / "run", REPOSITORY / "tests" / "container" / "make_base.sh"]
    done = subprocess.run(["shellcheck", "-x", *scripts], cwd=REPOSITORY, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "path", [*sorted((REPOSITORY / "scripts" / "launcher").glob("*.sh")), REPOSITORY / "run_training_docker.sh"]
)
def test_scripts_are_strict_or_parts_of_strict_ones(path) -> None:  # type: ignore[no-untyped-def]
    text = path.read_text()
    assert re.search(r"^set -E?euo pipefail$", text, flags=re.M) or "Part of run_training_docker.sh" in text
    assert len(text.splitlines()) <= 350
