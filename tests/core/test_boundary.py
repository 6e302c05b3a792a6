"""Who may import whom, and what may not stand in shipped code, read from the syntax trees."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE_MAY = sys.stdlib_module_names | {"torch", "safetensors", "diffusers"}
CORE_MAY_WHERE_USED = {"transformers", "bitsandbytes", "ftfy", "bs4"}
"""Heavy, or not there for everyone: within functions only."""
NODES_MAY = sys.stdlib_module_names
COMMAND = ROOT / "pixart_core" / "__main__.py"
"""A command line of its own: it may print, and show a bar."""
HOST_SIDE_MAY = sys.stdlib_module_names | {
    *("aiohttp", "torch", "transformers", "comfy", "folder_paths", "latent_preview", "server")
}
CORE = sorted((ROOT / "pixart_core").rglob("*.py"))
NODES = sorted((ROOT / "nodes").glob("*.py"))
HOST_SIDE = sorted((ROOT / "nodes" / "host").glob("*.py"))
FLEET = sorted((ROOT / "pixart_fleet").glob("*.py"))
FLEET_MAY = sys.stdlib_module_names | {
    *("pixart_fleet", "ray", "aiohttp", "fastapi", "pydantic", "prometheus_client", "tqdm")
}
SHIPPED = [ROOT / "__init__.py", *CORE, *NODES, *HOST_SIDE]
FORBIDDEN_CALLS = {"eval", "exec", "print", "__import__", "compile"}
FORBIDDEN_IMPORTS = {"subprocess", "socket", "urllib", "requests", "ctypes", "importlib"}
MEMORY = ROOT / "pixart_core" / "memory.py"
"""It asks the C library to return memory, for which Python has no call."""
HARMLESS_PARTS = {"urllib.parse", "importlib.metadata"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports_of(path: Path, at_top: bool = False) -> Iterator[tuple[int, str]]:
    """Yield level (0 for absolute) and module of each import of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if at_top else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_core_imports_no_host_and_stays_below(path: Path) -> None:
    depth = len(path.relative_to(ROOT / "pixart_core").parts)
    for level, module in imports_of(path):
        assert level <= depth, f"{module} lies above pixart_core"
        allowed = CORE_MAY | CORE_MAY_WHERE_USED | ({"tqdm"} if path == COMMAND else set())
        assert level or module.split(".")[0] in allowed
    for level, module in imports_of(path, at_top=True):
        assert level or module.split(".")[0] not in CORE_MAY_WHERE_USED


@pytest.mark.parametrize("path", NODES, ids=name_of)
def test_nodes_use_the_public_api_alone(path: Path) -> None:
    for level, module in imports_of(path):
        if not level:
            assert module == "comfy_api.latest" or module.split(".")[0] in NODES_MAY
        assert level < 2 or module.startswith("pixart_core")


@pytest.mark.parametrize("path", HOST_SIDE, ids=name_of)
def test_the_host_side_imports_no_nodes(path: Path) -> None:
    for level, module in imports_of(path):
        assert level != 2
        assert level or module.split(".")[0] in HOST_SIDE_MAY


def test_the_pack_imports_nothing_when_it_is_found() -> None:
    found = {module for _, module in imports_of(ROOT / "__init__.py", at_top=True)}
    assert found <= {"__future__", "typing"}


@pytest.mark.parametrize("path", SHIPPED, ids=name_of)
def test_shipped_code_is_harmless(path: Path) -> None:
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & FORBIDDEN_CALLS - ({"print"} if path == COMMAND else set())
    modules = {module for level, module in imports_of(path) if not level} - HARMLESS_PARTS
    forbidden = FORBIDDEN_IMPORTS - ({"ctypes"} if path == MEMORY else set())
    assert not {module.split(".")[0] for module in modules} & forbidden


@pytest.mark.parametrize("path", FLEET, ids=name_of)
def test_the_fleet_stands_beside_the_pack(path: Path) -> None:
    """It ships without the tools, and knows the nodes by their names alone."""
    for level, module in imports_of(path):
        assert not level
        assert module.split(".")[0] in FLEET_MAY


def test_the_pack_knows_no_fleet() -> None:
    for path in SHIPPED:
        assert "pixart_fleet" not in path.read_text(encoding="utf-8")


def test_pickle_is_only_named_for_its_errors() -> None:
    for path in SHIPPED:
        text = path.read_text(encoding="utf-8")
        assert "pickle.load" not in text
        assert text.count("torch.load(") == text.count("weights_only=True")


@pytest.mark.parametrize("path", sorted(ROOT.glob("[!.]*/**/*.py")), ids=name_of)
def test_files_are_small_and_named_by_a_noun(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    assert path.stem not in {"utils", "helpers", "common", "misc"}
