"""What made a result."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import torch
from sam2_training.core.ranks import Ranks
from sam2_training.engine import provenance as module
from sam2_training.engine.provenance import git_state, provenance, write_provenance


def values() -> dict:
    return provenance("c" * 64, "d" * 64, 123, Ranks(), ("sam2",))


def test_r24_says_what_made_the_result(monkeypatch):
    monkeypatch.setenv("SAM2_IMAGE_DIGEST", "sha256:0123")
    monkeypatch.setattr(sys, "argv", ["training/train.py", "-c", "custom_finetune"])
    made_by = values()
    assert (made_by["config_sha256"], made_by["data_sha256"], made_by["seed"]) == ("c" * 64, "d" * 64, 123)
    assert made_by["command"][1:] == ["training/train.py", "-c", "custom_finetune"]
    assert made_by["image"] == {"SAM2_IMAGE_DIGEST": "sha256:0123"}
    assert made_by["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert made_by["versions"]["sam2"]
    assert made_by["machine"]["cpu"]
    assert (made_by["world_size"], made_by["device"]) == (1, "cpu")
    assert set(made_by) >= {"started", "git", "lock_sha256"}
    assert {"driver", "gpus", "host"} <= set(made_by["machine"])


def test_lock_file_is_named_by_its_hash(monkeypatch, tmp_path):
    (tmp_path / "requirements.lock").write_bytes(b"torch==1\n")
    monkeypatch.setattr(module, "PROJECT", tmp_path)
    assert values()["lock_sha256"] == hashlib.sha256(b"torch==1\n").hexdigest()


def test_works_without_git_and_outside_a_checkout(monkeypatch, tmp_path):
    assert git_state(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert values()["git"] is None


def test_git_state_names_the_commit_and_whether_files_were_changed(tmp_path):
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(
            ["git", "-C", tmp_path, *identity, *arguments], check=True, text=True, capture_output=True
        ).stdout

    git("init")
    (tmp_path / "code.py").write_text("a = 1\n")
    git("add", ".")
    git("commit", "-m", "one")
    commit = git("rev-parse", "HEAD").strip()
    assert git_state(tmp_path) == {"commit": commit, "dirty": False}
    (tmp_path / "code.py").write_text("a = 2\n")
    assert git_state(tmp_path) == {"commit": commit, "dirty": True}
    (tmp_path / "installed").mkdir()
    assert git_state(tmp_path / "installed") is None  # the checkout around it is not that of our code


def test_a_continued_run_keeps_what_made_its_earlier_parts(tmp_path):
    path = tmp_path / "logs" / "provenance.json"
    for seed in (1, 2, 3):
        write_provenance(path, {"seed": seed})
    written = json.loads(path.read_text())
    assert written == {"seed": 3, "earlier_starts": [{"seed": 1}, {"seed": 2}]}
    assert [found.name for found in path.parent.iterdir()] == ["provenance.json"]


def test_an_unreadable_older_file_is_replaced(tmp_path):
    (tmp_path / "provenance.json").write_text("{half")
    write_provenance(tmp_path / "provenance.json", {"seed": 1})
    assert json.loads((tmp_path / "provenance.json").read_text()) == {"seed": 1, "earlier_starts": []}
