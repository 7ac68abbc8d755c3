"""The house's rules, read from the source: sizes, import directions, what may happen where, documentation."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sam2_training.core.places import CONFIG_ROOT
from sam2_training.core.settings import keys_of
from sam2_training.tasks import load_config
from sam2_training.vos.config import VosConfig

from tests.places import REPOSITORY

PACKAGE = REPOSITORY / "training" / "sam2_training"
MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = [
    *MODULES,
    *(path for folder in ("tests", "benchmarks", "scripts") for path in sorted((REPOSITORY / folder).rglob("*.py"))),
]
MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 60
MAX_REPOSITORY_BYTES = 20_000_000


def place(path: Path, node: ast.AST | None = None) -> str:
    line = f":{node.lineno}" if node is not None and hasattr(node, "lineno") else ""
    return f"{path.relative_to(REPOSITORY)}{line}"


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def tracked_files() -> list[Path]:
    """Files in version control, and new ones that are not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: which files belong to the project is unknown")
    return [path for name in listed.stdout.split("\0") if name and (path := REPOSITORY / name).is_file()]


def imported_modules(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """(dotted name, node) of every import of ours, also inside functions; relative ones made absolute."""
    package = path.relative_to(REPOSITORY).with_suffix("").parts
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module, node
            yield from ((f"{module}.{alias.name}", node) for alias in node.names)


BELOW = {
    "core": (),
    "data": ("core",),
    "pictures": ("core",),
    "writers": ("core", "data", "pictures"),
    "report": ("core", "pictures"),
    "engine": ("core",),
    "vos": ("core", "data", "pictures", "writers", "report", "engine.task", "engine.config", "engine.optimizer_config"),
}
"""The floors below each folder of the package; what is not listed here (cli, commands, tasks) may import everything."""


def may_import(importer: str, imported: str) -> bool:
    """Whether one module of ours (dotted, without `sam2_training.`) may import another: its own floor, or below."""
    floor = importer.split(".")[0]
    allowed = BELOW.get(floor)
    if allowed is None or imported == "__version__":
        return True
    return any(imported == name or imported.startswith(f"{name}.") for name in (floor, *allowed))


def test_files_have_at_most_350_lines() -> None:
    long = [f"{place(path)}: {n}" for path in SOURCES if (n := len(path.read_text().splitlines())) > MAX_FILE_LINES]
    assert not long


def test_functions_have_at_most_60_lines() -> None:
    long = []
    for path in SOURCES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    long.append(f"{place(path, node)} {node.name}: {lines}")
    assert not long


def test_imports_only_go_down() -> None:
    wrong = []
    for path in MODULES:
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for name, node in imported_modules(path):
            if name.startswith("sam2_training.") and not may_import(module, name.removeprefix("sam2_training.")):
                wrong.append(f"{place(path, node)} imports {name}")
    assert not wrong


def test_a_wing_knows_the_engine_only_by_its_contract_and_its_config() -> None:
    """engine/task.py itself imports nothing of the engine's insides, or a wing would get them all with it."""
    inside = {
        name for name, _ in imported_modules(PACKAGE / "engine" / "task.py") if name.startswith("sam2_training.engine")
    }
    assert {".".join(name.split(".")[:3]) for name in inside} <= {"sam2_training.engine.config"}


WING_WORDS = re.compile(r"video|mask|palette|j&f|j_and_f|sam ?2|click|clip|crop", flags=re.IGNORECASE)
NOT_OF_A_WING = re.compile(
    r"sam2_training|sam2_configs|sam2_logs|SAM2_\w+|sam2-training"  # the project's own names
    r"|gradient_clip\w*|clip_grad\w*|_?clip_val\b|[Cc]lips the gradient|(no|before) clipping"  # gradient clipping
)


@pytest.mark.parametrize("floor", ["core", "engine"])
def test_core_and_engine_know_no_word_of_a_wing(floor: str) -> None:
    wrong = [
        f"{place(path)}:{number}: {line.strip()}"
        for path in sorted((PACKAGE / floor).rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if WING_WORDS.search(NOT_OF_A_WING.sub("", line))
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_is_called_utils() -> None:
    assert not [place(path) for path in SOURCES if re.fullmatch(r"utils?|helpers?|misc|common", path.stem)]


def statements_run_at_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Every node that is evaluated when the module is imported: function bodies and the main guard are left out."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in statement.decorator_list:
                yield from ast.walk(decorator)
            for default in [*statement.args.defaults, *statement.args.kw_defaults]:
                if default is not None:
                    yield from ast.walk(default)
        elif isinstance(statement, ast.ClassDef):
            yield from statements_run_at_import(statement.body)
        elif not (isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test)):
            yield from (node for node in ast.walk(statement) if not isinstance(node, ast.Lambda))


def test_import_reads_no_environment_and_touches_no_cuda() -> None:
    forbidden = re.compile(r"os\.(environ|getenv|putenv)|torch\.cuda\.\w+\(")
    wrong = []
    for path in MODULES:
        for node in statements_run_at_import(tree_of(path).body):
            if isinstance(node, ast.Call | ast.Attribute | ast.Subscript) and forbidden.match(ast.unparse(node)):
                wrong.append(f"{place(path, node)} {ast.unparse(node)}")
    assert not wrong


def test_the_main_rank_is_asked_for_by_name() -> None:
    compares = re.compile(r"rank == 0|not (self\.)?(ranks\.)?rank\b")
    wrong = [
        f"{place(path)}:{number}: {line.strip()}"
        for path in MODULES
        if path.relative_to(PACKAGE).as_posix() not in ("core/ranks.py", "core/rank_variables.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if compares.search(line)
    ]
    assert not wrong


def test_no_exception_is_swallowed_without_a_word() -> None:
    wrong = [
        place(path, node)
        for path in SOURCES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ExceptHandler)
        and all(isinstance(inner, ast.Pass) or inner_is_ellipsis(inner) for inner in node.body)
    ]
    assert not wrong


def inner_is_ellipsis(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.value.value is Ellipsis


def test_every_module_class_and_public_function_says_what_it_is() -> None:
    wrong = [place(path) for path in SOURCES if path.read_text().strip() and not ast.get_docstring(tree_of(path))]
    for path in MODULES:
        for node in tree_of(path).body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
            if public and not ast.get_docstring(node):
                wrong.append(f"{place(path, node)} {node.name}")
    assert not wrong


def forbidden_words() -> re.Pattern[str]:
    """Words for unfinished work, paths of one machine, registry hosts; in pieces, so that this file may hold them."""
    unfinished = [r"\b" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX"]) + r"\b", "place" + "holder"]
    paths = [
        rf"(?<![\w.])/{name}" for name in ("wo" + "rk/", "ro" + "ot/", "tm" + "p/bash", "ho" + "me/", "opt" + "/py")
    ]
    hosts = ["py" + r"pi\.org", "python" + "hosted", r"deb\.deb" + "ian", r"registry\.npm" + "js", "index" + "-url"]
    return re.compile("|".join([*unfinished, *paths, *hosts]))


def test_no_text_file_holds_unfinished_work_machine_paths_or_registry_hosts() -> None:
    forbidden, wrong = forbidden_words(), []
    for path in tracked_files():
        if path.suffix in (".png", ".jpg", ".pt") or path.name == "LICENSE":
            continue
        for number, line in enumerate(path.read_text(errors="ignore").splitlines(), 1):
            if found := forbidden.search(line):
                wrong.append(f"{place(path)}:{number}: {found.group(0)}")
    assert not wrong


def test_repository_is_small_and_holds_no_weights() -> None:
    files = tracked_files()
    assert sum(path.stat().st_size for path in files) < MAX_REPOSITORY_BYTES
    assert not [place(path) for path in files if path.suffix in (".pt", ".pth", ".safetensors", ".ckpt")]


def test_links_between_pages_lead_somewhere() -> None:
    broken = []
    for page in (path for path in tracked_files() if path.suffix == ".md"):
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{place(page)}: {target}")
    assert not broken


def recipes() -> list[Path]:
    return sorted((CONFIG_ROOT / "sam2.1_training").glob("*.yaml"))


@pytest.mark.parametrize("recipe", recipes(), ids=lambda path: path.stem)
def test_recipe_opens_with_a_label_and_its_command_composes(recipe: Path) -> None:
    header = [line.removeprefix("# ") for line in recipe.read_text().split("\ndefaults")[0].splitlines()]
    assert header[0].endswith("."), "the first line says what the recipe is for"
    for word in ("For:", "Measured:", "Run:"):
        assert any(line.startswith(word) for line in header), f"no `# {word}` line"
    command = next(line for line in header if line.startswith("Run:")).removeprefix("Run:")
    words = shlex.split(command.replace("<", "").replace(">", ""))
    if "make" in words:
        return
    overrides = [word for word in words if "=" in word]
    loaded = load_config(words[words.index("-c") + 1], overrides)
    assert loaded.name == f"sam2.1_training/{recipe.stem}"


def config_classes() -> Iterator[tuple[Path, ast.ClassDef]]:
    for path in sorted(PACKAGE.glob("*/config.py")):
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef) and node.name.endswith("Config") and node.name != "LoadedConfig":
                yield path, node


def test_every_configuration_key_is_documented_where_it_stands() -> None:
    wrong = []
    for path, node in config_classes():
        for field, following in zip(node.body, [*node.body[1:], None], strict=True):
            if not isinstance(field, ast.AnnAssign):
                continue
            section = ast.unparse(field.annotation).endswith("Config")  # its class says what it is
            documented = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            if not section and not documented:
                wrong.append(f"{place(path, field)} {node.name}.{ast.unparse(field.target)}")
    assert not wrong


def test_every_configuration_section_is_frozen() -> None:
    sections = [key.section for key in keys_of(VosConfig) if key.section is not None]
    assert len(sections) > 10
    assert all(section.__dataclass_params__.frozen for section in sections)


def test_configuration_page_is_up_to_date() -> None:
    command = [sys.executable, "scripts/document_config.py", "--check"]
    checked = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_the_map_in_training_readme_names_every_module() -> None:
    text = (REPOSITORY / "training" / "README.md").read_text()
    modules = [path for path in sorted((REPOSITORY / "training").rglob("*.py")) if path.name != "__init__.py"]
    assert [str(path) for path in modules if path.name not in text] == []
