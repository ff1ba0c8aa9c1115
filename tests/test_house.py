"""The layout of the package and its words, held by reading the source."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dynopt
from dynopt import course, derivations, figures, optimizers, problems
from dynopt.optimizers import AbstractOptimizer

ROOT = Path(dynopt.__file__).parent
FLOORS = {
    "errors": -1, "checks": -1, "files": -1,
    "problems": 0, "optimizers": 0, "scalar": 0,
    "derivations": 1, "runs": 1,
    "analysis": 2,
    "figures": 3, "course": 3, "explorer": 3,
    "compare": 4,
}  # fmt: skip
INSIDE_FIGURES = {"drawing": 0, "plane": 1}  # every figure stands above both
SOURCES = sorted(ROOT.rglob("*.py"))
TEXTS = {path: path.read_text("utf-8") for path in SOURCES}


def package(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path):
    """The modules of dynopt that a file imports, as tuples of names below `dynopt`."""
    here = ("dynopt", *path.relative_to(ROOT).with_suffix("").parts)
    for node in ast.walk(ast.parse(TEXTS[path])):
        if isinstance(node, ast.ImportFrom) and (
            node.level or (node.module or "").startswith("dynopt")
        ):
            base = here[: len(here) - node.level] if node.level else ()
            full = (*base, *(node.module.split(".") if node.module else ()))
            for alias in node.names:
                yield (*full, alias.name)[1:]


def test_imports_go_only_downwards():
    upward = [
        f"{path.relative_to(ROOT)} imports {names[0]}"
        for path in SOURCES
        if path != ROOT / "__init__.py"
        for names in imports(path)
        if names[0] in FLOORS and FLOORS[names[0]] > FLOORS[package(path)]
    ]
    assert upward == []


def test_what_draws_does_not_know_what_is_drawn():
    upward = [
        f"{path.relative_to(ROOT)} imports {'.'.join(names)}"
        for path in SOURCES
        if path.parent.name in INSIDE_FIGURES and path.parent.parent.name == "figures"
        for names in imports(path)
        if names[0] == "figures"
        and INSIDE_FIGURES.get(names[1], 2) > INSIDE_FIGURES[path.parent.name]
    ]
    assert upward == []


def test_the_root_shows_the_architecture():
    folders = {path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file()}
    modules = {path.stem for path in ROOT.glob("*.py")} - {"__init__"}
    assert folders | modules == set(FLOORS) and len(modules) <= 4


def offenders(pattern: str, allowed: str = "(?!)") -> list[str]:
    """The lines of the package that match the pattern, without what is allowed."""
    return [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path, text in TEXTS.items()
        for line in text.splitlines()
        if re.search(pattern, re.sub(allowed, "", line))
    ]


def test_nothing_unpickles_or_evaluates_text():
    found = offenders(
        r"import pickle|\beval\(|\bexec\(|allow_pickle=True|yaml", r"(literal|compile_time)_eval\("
    )
    assert found == []


def test_the_library_never_draws_through_pyplot_or_turns_on_x64():
    advice = r"jax\.config\.update\('jax_enable_x64', True\)"
    assert offenders(r"import matplotlib\.pyplot|matplotlib import pyplot") == []
    assert offenders(r"config\.update\(.jax_enable_x64", advice) == []


def test_importing_dynopt_imports_no_jax_and_no_matplotlib():
    heavy = "('jax', 'matplotlib', 'diffrax', 'optax')"
    script = f"import sys, dynopt; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_library_without_figures_imports_no_matplotlib():
    names = "dynopt.Adam, dynopt.iterate, dynopt.analysis, dynopt.problems"
    script = f"import sys, dynopt; {names}; print('matplotlib' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_every_name_at_the_front_door_opens():
    for name in dynopt.__all__:
        assert getattr(dynopt, name) is not None
    with pytest.raises(AttributeError, match="Adamm"):
        dynopt.Adamm  # noqa: B018


def test_the_front_door_keeps_each_name_once():
    stub = ast.parse((ROOT / "__init__.pyi").read_text("utf-8"))
    names = [
        alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    assert sorted(names) == sorted(set(names)) == sorted(dynopt.__all__)
    assert "import" not in TEXTS[ROOT / "__init__.py"].replace("import lazy_loader", "").replace(
        "imported", ""
    )


def test_the_front_door_shows_the_letters_and_the_terms_of_textbooks():
    for letter in ("x", "f, ∇f", "g", "y", "p", "m, v", "k", "h", "t", "τ"):
        assert f"| {letter} " in dynopt.__doc__
    for term in (
        "global error",
        "local truncation error",
        "right-hand side",
        "Lyapunov function",
        "backward error analysis",
        "order of convergence",
        "slow manifold",
        "time step",
    ):
        assert term in dynopt.__doc__


def test_the_front_door_shows_every_optimizer_of_the_catalogue():
    assert {kind.__name__ for kind in optimizers.catalogue.values()} <= set(dynopt.__all__)


def test_an_abstract_optimizer_shows_at_most_eighteen_public_names():
    shown = {
        name
        for kind in AbstractOptimizer.__mro__
        if kind.__module__.startswith("dynopt")
        for name in (*vars(kind), *vars(kind).get("__annotations__", ()))
        if not name.startswith("_")
    }
    assert len(shown) <= 18, sorted(shown)


# The words of DESIGN: home-made terms that no docstring, message or caption may use.
BANNED = {
    "page": r"\bpages?\b(?! of a textbook)(?<!web page)",
    "clock": r"\bclocks?\b",
    "gap": r"\bgaps?\b",
    "germ": r"\bgerms?\b",
    "kink": r"\bkinks?\b",
    "settling, but for the settling time": r"\bsettling\b(?![ _]time)",
    "mended": r"\bmend(ed|able|s)?\b",
    "swinging": r"\bswinging\b",
    "astray": r"\b(astray|strays?)\b",
    "whose it is": r"\bwhose it (is|was)\b",
    "dealt, gathered": r"\b(dealt|gathered)\b",
    "patience, pace": r"\b(patience|pace)\b",
    "step size": r"\bstep size\b",
    "energy that never rises": r"\benergy\b.{0,40}\bnever rises\b",
}


def sentences(tree: ast.AST):
    """Every text in a module: docstrings, messages and captions, the fixed parts of f-strings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def test_no_docstring_message_or_caption_speaks_the_old_dialect():
    glossary = ROOT / "__init__.py"  # tells that h is an integrator's step size
    found = [
        f"{path.relative_to(ROOT)}:{line} says {word}: {text.strip()[:60]!r}"
        for path, source in TEXTS.items()
        if path != glossary
        for line, text in sentences(ast.parse(source))
        for word, pattern in BANNED.items()
        if re.search(pattern, text, re.IGNORECASE)
    ]
    assert found == []


def names_in(tree: ast.AST):
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.FunctionDef | ast.ClassDef | ast.arg | ast.Attribute):
            yield (
                getattr(node, "id", None)
                or getattr(node, "name", None)
                or getattr(node, "arg", None)
                or node.attr
            )


def test_no_name_in_the_code_speaks_the_old_dialect():
    banned = re.compile(
        r"(^|_)(pages?|clocks?|gaps?|germ|kinks?|settling(?!_time)|mended|swinging|people|seen|said"
        r"|astray|patience|pace|cast|fate)($|_)"
    )
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path, source in TEXTS.items()
        for name in names_in(ast.parse(source))
        if banned.search(name)
    }
    assert sorted(found) == []


DOCUMENTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
DOCUMENTS += sorted(f"docs/{file.name}" for file in (ROOT.parent / "docs").glob("*.md"))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_document_speaks_the_old_dialect(document):
    text = (ROOT.parent / document).read_text("utf-8")
    found = [word for word, pattern in BANNED.items() if re.search(pattern, text, re.IGNORECASE)]
    assert found == []


def test_no_notebook_speaks_the_old_dialect():
    found = [
        f"{path.name} says {word}"
        for path in sorted((ROOT.parent / "notebooks").glob("*.md"))
        for word, pattern in BANNED.items()
        if re.search(pattern, path.read_text("utf-8"), re.IGNORECASE)
    ]
    assert found == []


def test_every_public_thing_says_what_it_is_in_a_sentence():
    modules = (dynopt, derivations, figures, course, optimizers, problems)
    for thing in {id(m): m for m in modules}.values():
        assert (inspect.getdoc(thing) or "").partition("\n")[0].rstrip().endswith((".", ":"))
