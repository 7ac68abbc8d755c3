"""JSON documents read entry by entry give what the json module gives, and whatever is wrong names the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sam2_training.core.errors import DataError
from sam2_training.data import json_stream
from sam2_training.data.json_stream import Member, stream_members

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
IN_A_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def members_of(document: dict[str, object]) -> list[Member]:
    found = []
    for key, value in document.items():
        entries = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
        found += [Member(key, number, entry) for number, entry in entries]
    return found


@IN_A_FOLDER
@given(
    document=st.dictionaries(st.text(), VALUES, max_size=5),
    chunk=st.integers(1, 9),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
)
def test_any_document_in_chunks_of_any_size_is_what_the_json_module_reads(
    tmp_path: Path, document: dict[str, object], chunk: int, indent: int | None, ascii_only: bool
) -> None:
    path = tmp_path / "a.json"
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    path.write_bytes(text.encode("utf-8", "replace"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "CHUNK_BYTES", chunk)
        assert list(stream_members(str(path))) == members_of(json.loads(path.read_bytes()))


@IN_A_FOLDER
@given(data=st.binary(max_size=60) | st.text('[]{}":,0123456789.eE-+truefalsn\\u\n ', max_size=40).map(str.encode))
def test_what_is_no_document_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    if is_document(data):
        assert {member.key for member in stream_members(str(path))} <= set(json.loads(data))
    else:
        with pytest.raises(DataError, match=r"a\.json"):
            list(stream_members(str(path)))


def is_document(data: bytes) -> bool:
    try:
        return isinstance(json.loads(data.decode("utf-8-sig")), dict)
    except (ValueError, RecursionError):
        return False


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "expected {, found the end of the file"),
        (b"[1]", r"expected {, found \["),
        (b'{"a": [1, 2', "expected , or ], found the end of the file"),
        (b'{"a": [1, 2}', "expected , or ], found }"),
        (b'{"a": 1} x', "something follows"),
        (b'{"a": [{"b": 1, "c"}]}', r"Expecting ':' delimiter, at character 19"),
        (b'{"a": "bc', "Unterminated string starting at, at character 6"),
        (b'{"a": "\xff\xfe"}', "not UTF-8"),
        (b'{"a": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"1" * 10_000 + b"}", "not JSON"),
    ],
)
def test_a_damaged_document_says_what_and_where(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(DataError, match=words) as caught:
        list(stream_members(str(path)))
    assert str(path) in str(caught.value)


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": [7]}')
    assert list(stream_members(str(path))) == [Member("a", 0, 7)]


@pytest.mark.parametrize("what", ["missing", "folder"])
def test_what_is_no_file_is_named(tmp_path: Path, what: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=f"{what}\n"):
        list(stream_members(str(tmp_path / what)))


def test_an_error_early_in_a_large_document_is_found_without_reading_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a": [1, 2, oops, ' + b"3, " * 100_000 + b"\xff")  # the last byte is not UTF-8
    monkeypatch.setattr(json_stream, "CHUNK_BYTES", 1000)
    with pytest.raises(DataError, match="at character 13"):
        list(stream_members(str(path)))
