"""A JSON document whose long lists are written item by item, so that memory does not grow with them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sam2_training.core.files import replacing


class JsonSpool:
    """Lists of a JSON document, kept in temporary files until `save`."""

    def __init__(self, lists: Sequence[str]) -> None:
        """lists: their keys, in the order in which they stand in the document."""
        self._files = {key: tempfile.TemporaryFile("w+", encoding="utf-8") for key in lists}  # noqa: SIM115
        self.lengths = dict.fromkeys(lists, 0)

    def add(self, key: str, item: object) -> None:
        """Appends to a list."""
        if self.lengths[key]:
            self._files[key].write(",\n")
        json.dump(item, self._files[key], ensure_ascii=False, allow_nan=False)
        self.lengths[key] += 1

    def save(self, path: Path, **others: Any) -> None:
        """Writes the document, whole or not at all: others, then the lists. Ends the spool."""
        with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8") as document:
            document.write("{")
            for number, (key, file) in enumerate(self._files.items()):
                before = f"{json.dumps(key)}: [\n"
                document.write(",\n" + before if number else before)
                file.seek(0)
                while part := file.read(2**20):
                    document.write(part)
                document.write("]")
                file.close()
            for key, value in others.items():
                document.write(f",\n{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
            document.write("}\n")
