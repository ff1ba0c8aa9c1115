"""The plan of the house, held by reading its source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dynopt
from dynopt import optimizers, problems

ROOT = Path(dynopt.__file__).parent
FLOORS = {
    "errors": -1, "atomic": -1, "checks": -1,
    "problems": 0, "optimizers": 0,
    "derivations": 1, "archive": 1, "members": 1, "trajectories": 1,
    "lanes": 2, "chunks": 2, "sweeps": 2,
    "analysis": 2,
    "figures": 3, "course": 3,
    "gallery": 4, "options": 4, "provenance": 4, "screen": 4, "script": 4, "studies": 4, "compare": 4,
}  # fmt: skip
SOURCES = sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def rooms_imported(path: Path):
    here = ("dynopt", *path.relative_to(ROOT).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (
            node.level or (node.module or "").startswith("dynopt")
        ):
            base = here[: len(here) - node.level] if node.level else ()
            full = (*base, *(node.module.split(".") if node.module else ()))
            if full == ("dynopt",):
                yield from (alias.name for alias in node.names if alias.name in FLOORS)
            elif len(full) > 1:
                yield full[1]


@pytest.mark.parametrize(
    "path",
    [p for p in SOURCES if p != ROOT / "__init__.py"],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_imports_go_only_downwards(path):
    for below in rooms_imported(path):
        if below != room(path):
            assert FLOORS[below] <= FLOORS[room(path)], f"{path.name} looks up to {below}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_unpickles_or_evaluates_text(path):
    text = path.read_text()
    for word in ("import pickle", "eval(", "exec(", "allow_pickle=True", "yaml"):
        assert word not in text.replace("literal_eval(", "").replace("compile_time_eval(", "")


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_library_never_draws_through_pyplot_or_turns_on_x64(path):
    text = path.read_text()
    assert "import matplotlib.pyplot" not in text and "from matplotlib import pyplot" not in text
    assert 'config.update("jax_enable_x64"' not in text.replace(
        "jax.config.update('jax_enable_x64', True)", ""
    )


def test_importing_dynopt_imports_no_jax_and_no_matplotlib():
    script = "import sys, dynopt; print([m for m in ('jax', 'matplotlib', 'diffrax', 'optax') if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


def test_the_library_without_figures_imports_no_matplotlib():
    script = "import sys, dynopt; dynopt.Adam, dynopt.iterate, dynopt.analysis, dynopt.problems; print('matplotlib' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "False"
    )


def test_every_name_at_the_front_door_opens():
    for name in dynopt.__all__:
        assert getattr(dynopt, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Adamm'"):
        dynopt.Adamm  # noqa: B018


def test_the_front_door_shows_the_table_of_letters():
    for letter in ("| x ", "| y ", "| k ", "| h ", "| t ", "| τ ", "| m, v ", "| p ", "| g "):
        assert letter in (dynopt.__doc__ or "")


def test_every_page_and_problem_is_in_the_readme_or_listed_by_name():
    readme = (ROOT.parent / "README.md").read_text()
    for optimizer in optimizers.catalogue.values():
        assert f"`{optimizer.__name__}`" in readme
    assert len(problems.catalogue) >= 16
