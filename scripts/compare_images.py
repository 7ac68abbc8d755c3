"""Compares two docker images layer by layer: compare_images.py IMAGE IMAGE; exit code 0 if their content is the same.

A layer's digest covers contents, names, modes, owners and times of its files. Where two digests differ, the files
are compared without their times, because a builder writes the time of the build into whatever a step touches.
"""

import hashlib
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from typing import IO

Entries = dict[str, str]
"""{path in the layer: digest of everything but its time}."""


def main(first: str, second: str) -> int:
    """Prints a line a layer and what differs; 0 if every layer holds the same files."""
    layers = [_layer_digests(name) for name in (first, second)]
    if len(layers[0]) != len(layers[1]):
        print(f"{first} has {len(layers[0])} layers, {second} has {len(layers[1])}")
        return 1
    unequal = {number for number, (a, b) in enumerate(zip(*layers, strict=True)) if a != b}
    contents = [_contents(name, unequal) for name in (first, second)] if unequal else []
    code = 0
    for number, digest in enumerate(layers[0]):
        if number not in unequal:
            print(f"layer {number}: equal digest {digest[:19]}")
            continue
        differing = list(_differences(contents[0][number], contents[1][number]))
        if differing:
            code = 1
            print(f"layer {number}: {len(differing)} of {len(contents[0][number])} files differ")
            print("\n".join(f"    {path}" for path in differing[:20]))
        else:
            print(f"layer {number}: equal files ({len(contents[0][number])}), other times of writing")
    print("the images hold the same files" if code == 0 else "the images differ")
    return code


def _layer_digests(image: str) -> list[str]:
    answer = subprocess.run(["docker", "image", "inspect", image], check=True, capture_output=True, text=True)
    layers: list[str] = json.loads(answer.stdout)[0]["RootFS"]["Layers"]
    return layers


def _contents(image: str, wanted: set[int]) -> dict[int, Entries]:
    """{layer number: its entries} of the wanted layers, read from one pass over `docker save`."""
    by_name: dict[str, Entries] = {}
    order: list[str] = []
    save = subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE)
    with save, tarfile.open(fileobj=save.stdout, mode="r|") as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is None:
                continue
            if member.name == "manifest.json":
                order = json.load(content)[0]["Layers"]
            elif member.name.endswith("layer.tar") or member.name.startswith("blobs/"):
                by_name[member.name] = _entries(content)
    if save.returncode != 0:
        raise SystemExit(f"docker save {image} failed")
    return {number: by_name[name] for number, name in enumerate(order) if number in wanted}


def _entries(layer: IO[bytes]) -> Entries:
    """The layer's files; none if it is not a layer but a description."""
    try:
        with tarfile.open(fileobj=layer, mode="r|") as archive:
            return {member.name: _fingerprint(archive, member) for member in archive}
    except tarfile.ReadError:
        return {}


def _fingerprint(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    digest = hashlib.sha256(repr((member.type, member.mode, member.uid, member.gid, member.linkname)).encode())
    content = archive.extractfile(member) if member.isreg() else None
    while content is not None and (block := content.read(1 << 20)):
        digest.update(block)
    return digest.hexdigest()


def _differences(first: Entries, second: Entries) -> Iterator[str]:
    for path in sorted(first.keys() | second.keys()):
        if first.get(path) != second.get(path):
            yield path


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: compare_images.py IMAGE IMAGE")
    raise SystemExit(main(sys.argv[1], sys.argv[2]))
