"""Who may import whom, and what may be imported at start-up."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "forethought"
BASE = {"core", "errors", "settings"}
PARTS = {"styles", "prompts", "providers", "verifiers", "engine", "training", "evals", "examples", "store", "jobs"}
ALLOWED = {
    "errors": set(),
    "core": {"errors"},
    "settings": {"errors"},
    "styles": BASE,
    "prompts": BASE,
    "providers": BASE,
    "verifiers": BASE,
    "engine": BASE,
    "evals": BASE,
    "training": BASE | {"engine"},
    "examples": BASE | {"verifiers"},
    "store": BASE,
    "jobs": BASE | {"store"},
    "services": BASE | PARTS,
    "serving": BASE | {"styles", "prompts", "providers", "engine", "verifiers", "services"},
    "cli": {"core", "errors", "services", "serving"},
}
HEAVY = {"torch", "transformers", "trl", "peft", "datasets", "accelerate", "ray", "vllm", "nicegui", "sympy", "scipy"}


def modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if "migrations" not in path.parts)


def package_of(path: Path) -> str:
    relative = path.relative_to(SOURCE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports_of(path: Path) -> set[str]:
    """Packages of ours that a module imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names]
                if node.module == "forethought"
                else [node.module]
            )
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("forethought.")}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_imports_only_what_its_layer_may(path):
    package = package_of(path)
    if package in {"__init__", "__main__"}:
        return
    extra = imports_of(path) - ALLOWED[package] - {package, "__version__"}
    assert not extra, f"{package} may not import {sorted(extra)}"


def test_help_and_services_start_without_heavy_libraries():
    script = (
        "import sys, forethought.cli.app, forethought.services.tasks, forethought.services.workbench;"
        f"print(sorted(set(sys.modules) & {HEAVY!r}))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
