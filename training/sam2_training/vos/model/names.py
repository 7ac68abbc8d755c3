"""Resolves the name of a SAM 2.1 network: every spelling in use, and architecture files of your own."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import ConfigError
from sam2_training.core.places import CONFIG_ROOT
from sam2_training.vos.foreign_files import OTHER_SAM, foreign_network

OWN_GROUP = "own"
"""Hydra config group in which `register_aliases` puts architectures that are not published."""


@dataclass(frozen=True)
class Network:
    """One architecture and the names it goes by."""

    key: str
    """Its canonical name, such as sam2.1_hiera_b+; for a file of your own, the file's stem."""
    config_name: str
    """What stock `build_sam2` takes as config file (for a file of your own, after `register_aliases(path)`)."""
    checkpoint_name: str | None
    """File name of the published weights; None for an architecture of your own."""
    yaml_path: Path
    """The architecture's YAML on this machine."""


_SHORT_TO_LONG = {"t": "tiny", "s": "small", "b+": "base_plus", "l": "large"}

PUBLISHED = tuple(f"sam2.1_hiera_{short}" for short in _SHORT_TO_LONG)
"""Canonical names of the published networks, smallest first."""


def _alias_table() -> dict[str, str]:
    """{spelling: canonical name} of the four published networks, in lower case, without .yaml or .pt at the end."""
    table: dict[str, str] = {}
    for short, long in _SHORT_TO_LONG.items():
        key = f"sam2.1_hiera_{short}"
        sizes = {short, long, long.replace("_", "-"), long.replace("_plus", "+")}
        for size in sizes:
            stems = {f"sam2.1_hiera_{size}", f"sam2.1-hiera-{size}"}
            folders = ("", "configs/", "sam2.1/", "configs/sam2.1/", "sam2/", "configs/sam2/", "facebook/")
            spellings = {folder + stem for folder in folders for stem in stems}
            table.update(dict.fromkeys(spellings | {size, f"hiera_{size}"}, key))
    return table


ALIASES = _alias_table()
"""Every spelling of the published networks that is understood, and the canonical name it means."""


def resolve_network(name: str) -> Network:
    """The network that `name` means.

    name: a spelling from `ALIASES` (with or without .yaml or .pt, in any case), or an architecture YAML: a path that
    iopath can open, or one inside sam2_configs such as architecture/tiny.yaml.
    Raises ConfigError naming the nearest spelling.
    """
    spelling = name.strip().lower().removesuffix(".yaml").removesuffix(".yml").removesuffix(".pt")
    if spelling in ALIASES:
        return _published(ALIASES[spelling])
    own = _own_architecture(name)
    if own is not None:
        return own
    if spelling.rsplit("/", 1)[-1].startswith("sam2_hiera_"):
        raise ConfigError(
            f"model.name={name!r} is a SAM 2 network of the first release; this trains SAM 2.1, whose networks have "
            f"some parameters more: use {spelling.rsplit('/', 1)[-1].replace('sam2_', 'sam2.1_')}"
        )
    other = foreign_network(spelling)
    if other is not None:
        raise ConfigError(f"model.name={name!r} is {other}, and {OTHER_SAM}: use one of {', '.join(PUBLISHED)}")
    close = difflib.get_close_matches(spelling, [*PUBLISHED, *ALIASES], n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    raise ConfigError(
        f"model.name={name!r} is neither a known network nor a file; {hint}"
        f"Networks: {', '.join(PUBLISHED)}; or give the path of an architecture YAML."
    )


def _published(key: str) -> Network:
    short = key.removeprefix("sam2.1_hiera_")
    return Network(
        key=key,
        config_name=f"configs/sam2.1/{key}.yaml",
        checkpoint_name=f"sam2.1_hiera_{_SHORT_TO_LONG[short]}.pt",
        yaml_path=_sam2_folder() / "configs" / "sam2.1" / f"{key}.yaml",
    )


def _own_architecture(name: str) -> Network | None:
    """The network of a YAML file, or None when there is no such file."""
    if not name.endswith((".yaml", ".yml")):
        return None
    for candidate in (name, str(CONFIG_ROOT / name)):
        if g_pathmgr.isfile(candidate):
            path = Path(g_pathmgr.get_local_path(candidate)).resolve()
            return Network(path.stem, f"{OWN_GROUP}/{path.stem}.yaml", None, path)
    return None


def _sam2_folder() -> Path:
    spec = find_spec("sam2")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("the package sam2 is not installed; run `make setup`")
    return Path(spec.submodule_search_locations[0])


def register_aliases(*own_yaml_paths: str) -> None:
    """Makes stock `build_sam2` understand every spelling in `ALIASES`, in this process.

    After it, `build_sam2("sam2.1_hiera_b+", "path/to/checkpoint.pt")` and `build_sam2_video_predictor` work as with
    stock's own `configs/sam2.1/sam2.1_hiera_b+.yaml`. Each of `own_yaml_paths` becomes known as own/<file stem>.yaml.
    Writes to Hydra's store of named configs, which is global, and to nothing else.
    """
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    nodes = {key: _load_yaml(_published(key).yaml_path) for key in PUBLISHED}
    for spelling, key in ALIASES.items():
        *folders, stem = spelling.split("/")
        group = "/".join(folders) or None
        if f"{spelling}.yaml" != _published(key).config_name:
            store.store(name=stem, node=nodes[key], group=group, package="_global_")
    for own_path in own_yaml_paths:
        network = resolve_network(own_path)
        store.store(name=network.key, node=_load_yaml(network.yaml_path), group=OWN_GROUP, package="_global_")


def _load_yaml(path: Path) -> object:
    from omegaconf import OmegaConf

    return OmegaConf.load(path)
