"""The worked examples of CONTRIBUTING, added to a copy of the repository word for word."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dynopt import figures, optimizers
from dynopt.figures.drawing.style import color_of

ROOT = Path(__file__).parents[1]
COPIED = ("docs", "dynopt", "tests", "benchmarks", "notebooks")
BLOCK = re.compile(
    r"^(?P<fence>`{3,4})\w+\n(?:# |<!-- )(\S+?)(?:, after `(.+?)`)?(?: -->)?\n(.*?)^(?P=fence)$",
    re.S | re.M,
)
EXAMPLES = BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text("utf-8"))
COLORS = """
from dynopt import figures, optimizers
from dynopt.figures.drawing.style import color_of
for name, kind in optimizers.catalogue.items():
    print(name, color_of(kind(0.1)))
print(*figures.catalogue)
"""
ADDED = (
    "(damped_momentum or DampedMomentum or branin or stride or test_house or colour or shows_every or the_gallery) "
    "and not imports_no and not in_every_picture"
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A copy of the repository in which every example stands where the book says."""
    copy = tmp_path_factory.mktemp("book") / "repository"
    for folder in COPIED:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "pyproject.toml"):
        shutil.copy(ROOT / file, copy / file)
    for _, name, anchor, text in EXAMPLES:
        path = copy / name
        if not anchor:
            assert not path.exists()
            path.write_text(text, "utf-8")
            continue
        lines = path.read_text("utf-8").splitlines(keepends=True)
        (place,) = (i for i, line in enumerate(lines) if line.lstrip().startswith(anchor.lstrip()))
        while anchor.startswith("from") and "(" in lines[place] and ")" not in lines[place]:
            place += 1  # an import of several lines
        path.write_text("".join([*lines[: place + 1], text, *lines[place + 1 :]]), "utf-8")
    return copy


def run(repository: Path, *command: str) -> str:
    """What a command prints in the copy; it must succeed."""
    environment = os.environ | {"PYTHONPATH": str(repository), "MPLBACKEND": "agg"}
    finished = subprocess.run(
        [sys.executable, *command], cwd=repository, env=environment, capture_output=True, text=True
    )
    assert finished.returncode == 0, f"{finished.stdout[-3000:]}\n{finished.stderr[-3000:]}"
    return finished.stdout


def test_an_optimizer_a_problem_and_a_figure_added_by_the_book_pass_all_their_tests(repository):
    run(repository, "benchmarks/optimizers.py", "damped_momentum")
    tests = ("optimizers", "problems", "figures", "compare/test_command_line.py")
    files = ["optimizers/damped_momentum.py", "problems/branin.py", "figures/stride.py"]
    places = ["tests/test_house.py", "tests/test_readme.py", *(f"tests/{name}" for name in tests)]
    places += [f"dynopt/{file}" for file in files]
    printed = run(repository, "-m", "pytest", "-q", "-p", "no:xdist", "-k", ADDED, *places)
    assert int(re.search(r"(\d+) passed", printed)[1]) > 40
    written = {name for _, name, *_ in EXAMPLES if name.endswith((".py", ".pyi"))}
    run(repository, "-m", "ruff", "check", "--no-cache", *written)
    run(repository, "-m", "ruff", "format", "--check", "--no-cache", *written)


def test_no_other_optimizer_changes_its_colour(repository):
    *colors, figure_names = run(repository, "-c", COLORS).splitlines()
    before = [f"{name} {color_of(kind(0.1))}" for name, kind in optimizers.catalogue.items()]
    assert [line for line in colors if not line.startswith("damped_momentum")] == before
    assert [name for name in figure_names.split() if name != "stride"] == list(figures.catalogue)


def test_the_command_draws_what_was_added(repository):
    command = "-m dynopt.compare --problem branin --optimizers damped_momentum,sgd --figures stride"
    printed = run(repository, *command.split())
    assert "damped_momentum" in printed and "stride-branin.png" in printed
    assert (repository / "figures" / "stride-branin.png").stat().st_size > 10_000


def test_a_notebook_added_by_the_book_has_the_format_of_the_course(repository):
    (notebook,) = (repository / "notebooks").glob("10-*.md")
    start = repository / "notebooks" / "00-start-here.md"
    run(repository, "tests/course/pair.py", str(start), str(notebook))
    run(repository, "tests/course/reseal.py", "10")
    tests = ["tests/course/test_notebooks.py", "tests/course/test_exercises.py"]
    chosen = [
        "-k",
        "10 or map_of_the_course or chapter",
        *tests,
        str(notebook.with_suffix(".ipynb")),
    ]
    run(repository, "-m", "pytest", "-q", "-p", "no:xdist", "--nbmake", *chosen)
