"""checkpoints/download.sh against a server on this machine."""

from __future__ import annotations

import hashlib
import http.server
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.places import REPOSITORY
from tests.waiting import WAIT_SECONDS

CONTENT = bytes(range(256)) * 400


@dataclass
class Server:
    """Serves one file, whole or wrong, and understands requests for the rest of it."""

    url: str = ""
    content: bytes = CONTENT
    stop_after: int | None = None
    """Bytes after which the connection is cut."""
    requests: list[str | None] = field(default_factory=list)
    """The Range header of each request."""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.requests.append(wanted)
            first = int(re.findall(r"\d+", wanted)[0]) if wanted else 0
            rest = state.content[first:]
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(rest)))
            if wanted:
                self.send_header("Content-Range", f"bytes {first}-{len(state.content) - 1}/{len(state.content)}")
            self.end_headers()
            self.wfile.write(rest[: state.stop_after])
            self.close_connection = True

        def log_message(self, *arguments: object) -> None:
            pass

    threaded = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=threaded.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{threaded.server_address[1]}/"
    yield state
    threaded.shutdown()
    threaded.server_close()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "published.txt"
    path.write_text(f"# small files\nsmall.pt {len(CONTENT)} {hashlib.sha256(CONTENT).hexdigest()}\n")
    return path


def download(folder: Path, table: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        REPOSITORY / "checkpoints" / "download.sh",
        "--folder",
        folder,
        "--list",
        table,
        "--url",
        url,
        *arguments,
    ]
    return subprocess.run(command, text=True, capture_output=True, timeout=WAIT_SECONDS, check=False)


def test_a_file_is_downloaded_verified_and_not_fetched_again(tmp_path: Path, table: Path, server: Server) -> None:
    first = download(tmp_path / "weights", table, server.url, "small")
    assert first.returncode == 0, first.stderr
    assert (tmp_path / "weights" / "small.pt").read_bytes() == CONTENT
    assert "downloaded and verified" in first.stdout
    second = download(tmp_path / "weights", table, server.url, "small.pt")
    assert "is there and right" in second.stdout
    assert len(server.requests) == 1


def test_a_truncated_download_gets_no_name_and_is_continued(tmp_path: Path, table: Path, server: Server) -> None:
    server.stop_after = 5000
    broken = download(tmp_path, table, server.url, "small")
    assert broken.returncode == 1
    assert "run the same command again" in broken.stderr
    assert not (tmp_path / "small.pt").exists()
    got = (tmp_path / "small.pt.part").stat().st_size
    assert got >= 5000
    server.stop_after, before = None, len(server.requests)
    assert download(tmp_path, table, server.url, "small").returncode == 0
    assert server.requests[before:] == [f"bytes={got}-"]
    assert (tmp_path / "small.pt").read_bytes() == CONTENT


def test_a_file_with_other_bytes_is_refused_and_not_kept(tmp_path: Path, table: Path, server: Server) -> None:
    server.content = CONTENT[:-1] + b"x"
    wrong = download(tmp_path, table, server.url, "small")
    assert wrong.returncode == 1
    assert "has SHA-256" in wrong.stderr
    assert list(tmp_path.glob("small*")) == []


def test_check_verifies_what_is_there(tmp_path: Path, table: Path, server: Server) -> None:
    assert "is not there" in download(tmp_path, table, server.url, "--check").stdout
    assert download(tmp_path, table, server.url, "--check", "small").returncode == 1
    (tmp_path / "small.pt").write_bytes(CONTENT)
    right = download(tmp_path, table, server.url, "--check")
    assert right.returncode == 0
    assert "is right" in right.stdout
    (tmp_path / "small.pt").write_bytes(CONTENT[:-1])
    short = download(tmp_path, table, server.url, "--check")
    assert short.returncode == 1
    assert f"has {len(CONTENT) - 1} bytes instead of {len(CONTENT)}" in short.stderr
    assert server.requests == []


def test_wrong_usage_is_said_with_exit_code_2(tmp_path: Path, table: Path) -> None:
    assert "known: small.pt" in download(tmp_path, table, "http://127.0.0.1:9", "huge").stderr
    for arguments in (["huge"], ["--fast"], []):
        assert download(tmp_path, table, "http://127.0.0.1:9", *arguments).returncode == 2


def test_a_server_that_does_not_answer_is_said(tmp_path: Path, table: Path) -> None:
    missing = download(tmp_path, table, "http://127.0.0.1:9/", "small")
    assert missing.returncode == 1
    assert "could not be fetched whole" in missing.stderr


def test_the_published_table_names_its_address_and_four_files() -> None:
    shown = (REPOSITORY / "checkpoints" / "published.txt").read_text()
    assert len(re.findall(r"^sam2\.1_hiera_\w+\.pt \d+ [0-9a-f]{64}$", shown, flags=re.M)) == 4
    assert re.search(r"https://\S+/092824/$", shown, flags=re.M)
