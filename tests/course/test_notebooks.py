"""Every notebook has the format of the course, stores no output, and equals its Markdown twin.

The tests read the folder `notebooks/`, so a new notebook needs no edit here.
"""

import ast
import itertools
import re
from pathlib import Path

import jupytext
import pytest

import dynopt
from dynopt import course
from dynopt.course import check

FOLDER = Path(__file__).parents[2] / "notebooks"
ALL = sorted(FOLDER.glob("*.ipynb"))
START, *LESSONS = ALL
COURSE_FIGURES = [name for name, module in vars(course).items() if hasattr(module, "draw")]
FIRST = ["Setup", "Question", "Prediction", "Picture", "Number", "Why"]
LAST = ["What could go wrong", "Convention", "Exercises", "Sources"]
FIGURES = rf"(dynopt\.)?figures\.\w+\.draw|({'|'.join(COURSE_FIGURES)})\.draw"
every_notebook = pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
every_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def cells(path, kind=None):
    return [cell for cell in jupytext.read(path).cells if kind in (None, cell.cell_type)]


def trees(path):
    return [ast.parse(cell.source) for cell in cells(path, "code")]


def section(path, name):
    """The cells under one heading of the second level."""
    section_cells, inside = [], False
    for cell in cells(path):
        heading = re.match(r"## (.+)", cell.source) if cell.cell_type == "markdown" else None
        inside = heading.group(1) == name if heading else inside
        section_cells += [cell] * inside
    return section_cells


def is_call_of(node, module):
    """Whether a node is module.name(...) or module.submodule.name(...)."""
    return isinstance(node, ast.Call) and ast.unparse(node.func).startswith(f"{module}.")


def calls_draw(node):
    """Whether a node is a call of something.draw(...)."""
    return isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".draw")


def is_figure(node):
    """Whether a node calls the `draw` of one of the library's figures."""
    return calls_draw(node) and re.fullmatch(FIGURES, ast.unparse(node.func)) is not None


def test_there_is_a_notebook_for_every_chapter_of_exercises():
    assert [path.name[:2] for path in ALL] == check.chapters()


def test_the_map_of_the_course_lists_every_lesson_with_its_title():
    titles = [
        cells(path, "markdown")[0].source.splitlines()[0].removeprefix("# ") for path in LESSONS
    ]
    listed = re.findall(r"^\| (\d\d · [^|]+) \|", START.with_suffix(".md").read_text(), re.M)
    assert listed == titles


@every_notebook
def test_no_output_is_stored(path):
    for cell in cells(path, "code"):
        assert cell.outputs == [] and cell.execution_count is None


@every_notebook
def test_the_notebook_equals_its_markdown_twin(path):
    notebook, text = (
        [(cell.cell_type, cell.source, dict(cell.metadata)) for cell in cells(file)]
        for file in (path, path.with_suffix(".md"))
    )
    assert notebook == text
    assert jupytext.read(path).metadata["jupytext"]["formats"] == "ipynb,md:myst"


@every_lesson
def test_headings_follow_the_format(path):
    lines = [line for cell in cells(path, "markdown") for line in cell.source.splitlines()]
    chapter = path.name[:2]
    assert lines[0].startswith(f"# {chapter} · ")
    assert "| to read | to run | level | needs |" in lines
    second = [line[3:] for line in lines if line.startswith("## ")]
    assert second in (FIRST + LAST, FIRST + ["Inside one step"] + LAST)
    third = [line[4:].partition(" · ")[0] for line in lines if line.startswith("### ")]
    assert third == [f"{chapter}-{letter}" for letter in "abc"]


@every_notebook
def test_the_first_cell_sets_x64_and_prints_versions(path):
    first = cells(path, "code")[0].source
    assert 'jax.config.update("jax_enable_x64", True)' in first and "print(" in first
    assert "{dynopt.__version__}" in first and "{jax.__version__}" in first


@every_lesson
def test_the_reader_predicts_before_seeing(path):
    assert [
        cell.source.split("  #")[0]
        for cell in section(path, "Prediction")
        if cell.cell_type == "code"
    ] == ["prediction = ..."]


@every_lesson
def test_the_main_picture_is_one_of_the_library(path):
    code = [cell.source for cell in section(path, "Picture") if cell.cell_type == "code"]
    last = ast.parse(code[0]).body[-1]
    assert isinstance(last, ast.Expr) and is_figure(last.value)


@every_notebook
def test_every_picture_is_shown_by_the_library_with_its_alt_text(path):
    """A `Picture` at the end of a cell is shown with its alt text; nothing else draws."""
    for tree in trees(path):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert "matplotlib" not in ast.unparse(node)
        drawn = [node for node in ast.walk(tree) if is_call_of(node, "figures") or calls_draw(node)]
        assert all(map(is_figure, drawn)), "a picture is not one of the library"
        shown = [tree.body[-1].value] if tree.body and isinstance(tree.body[-1], ast.Expr) else []
        assert all(node in shown for node in drawn), "a picture is drawn but not shown"


def test_a_picture_gives_jupyter_its_alt_text():
    data, metadata = dynopt.figures.Picture(alt='f < "1"')._repr_mimebundle_()
    assert metadata == {"image/png": {"alt": 'f < "1"'}}
    assert 'alt="f &lt; &quot;1&quot;"' in data["text/html"]


@every_lesson
def test_the_number_is_printed_and_asserted(path):
    code = "\n".join(cell.source for cell in section(path, "Number") if cell.cell_type == "code")
    assert "print(" in code and "assert " in code


@every_lesson
def test_the_mathematics_is_there(path):
    assert any("$$" in cell.source for cell in section(path, "Why"))


@every_lesson
def test_a_convention_is_shown_from_the_dictionary(path):
    code = [cell.source for cell in section(path, "Convention") if cell.cell_type == "code"]
    assert code and all(source.startswith("conventions[") for source in code)


@every_notebook
def test_no_function_is_longer_than_five_lines(path):
    for tree in trees(path):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                assert node.end_lineno - node.lineno < 5, f"{node.name} belongs in the library"


@every_notebook
def test_nothing_is_downloaded_or_installed(path):
    text = "\n".join(cell.source for cell in cells(path, "code"))
    for word in ("http", "urllib", "requests", "!pip", "%pip", "fetch_"):
        assert word not in text


@every_notebook
def test_lines_of_code_and_prose_have_at_most_100_characters(path):
    lines = path.with_suffix(".md").read_text().splitlines()
    assert [line for line in lines if len(line) > 100 and not line.startswith("|")] == []


@every_notebook
def test_each_exercise_is_an_answer_and_one_line_that_checks_it(path):
    code, chapter = cells(path, "code"), path.name[:2]
    names = []
    for previous, cell in itertools.pairwise(code):
        if "check." not in cell.source.replace("import check", ""):
            continue
        (line,) = ast.parse(cell.source).body
        assert isinstance(line, ast.Expr) and is_call_of(line.value, "check")
        name, *arguments = line.value.args
        names.append(name.value)
        assert line.value.func.attr == check.exercises(chapter)[name.value].check
        given = {ast.unparse(node) for node in arguments if not isinstance(node, ast.Constant)}
        assert given and given <= assigned_names(ast.parse(previous.source))
        assert "..." in previous.source
        assert cell.metadata["tags"] == ["raises-exception"], (
            "a reader who runs all goes on to the next"
        )
        grade, solution = cell.metadata["nbgrader"], previous.metadata["nbgrader"]
        assert grade["grade"] and grade["locked"] and grade["grade_id"] == f"{name.value}-check"
        assert solution["solution"] and not solution["locked"]
        assert solution["grade_id"] == f"{name.value}-answer"
    assert names == list(check.exercises(chapter))


def assigned_names(tree):
    """The names that a cell assigns or defines."""
    stored = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return stored | {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
