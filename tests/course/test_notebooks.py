"""Every notebook keeps the format of the course, stores no output, and is in step with its Markdown twin."""

import ast
import re
from pathlib import Path

import jupytext
import pytest

import dynopt
from dynopt.course import check

FOLDER = Path(__file__).parents[2] / "notebooks"
ALL = sorted(FOLDER.glob("*.ipynb"))
LESSONS = [path for path in ALL if not path.name.startswith("00")]
FIRST = ["Setup", "Question", "Prediction", "Picture", "Number", "Why"]
LAST = ["What could go wrong", "Convention", "Exercises", "Sources"]
every = pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def cells(path, kind=None):
    return [cell for cell in jupytext.read(path).cells if kind in (None, cell.cell_type)]


def trees(path):
    return [ast.parse(cell.source) for cell in cells(path, "code")]


def section(path, name):
    """The cells under one heading of the second level."""
    found, inside = [], False
    for cell in cells(path):
        heading = re.match(r"## (.+)", cell.source) if cell.cell_type == "markdown" else None
        inside = heading.group(1) == name if heading else inside
        found += [cell] * inside
    return found


def is_call_of(node, room):
    """Whether a node is room.name(...) or room.module.name(...)."""
    return isinstance(node, ast.Call) and ast.unparse(node.func).startswith(f"{room}.")


def test_there_is_a_notebook_for_every_chapter_of_exercises():
    assert [path.name[:2] for path in ALL] == check.chapters()


def test_the_map_of_the_course_lists_every_lesson_with_its_title():
    titles = [
        cells(path, "markdown")[0].source.splitlines()[0].removeprefix("# ") for path in LESSONS
    ]
    listed = re.findall(r"^\| (\d\d · [^|]+) \|", (FOLDER / "00-start-here.md").read_text(), re.M)
    assert listed == titles
    assert (
        len(titles) == 9 and "a course in nine lessons" in (FOLDER.parent / "README.md").read_text()
    )


@every
def test_no_output_is_stored(path):
    for cell in cells(path, "code"):
        assert cell.outputs == [] and cell.execution_count is None


@every
def test_the_pair_is_in_step(path):
    pair = [cells(path), cells(path.with_suffix(".md"))]
    notebook, text = (
        [(cell.cell_type, cell.source, dict(cell.metadata)) for cell in side] for side in pair
    )
    assert notebook == text
    assert jupytext.read(path).metadata["jupytext"]["formats"] == "ipynb,md:myst"


@lesson
def test_headings_follow_the_format(path):
    lines = [line for cell in cells(path, "markdown") for line in cell.source.splitlines()]
    chapter = path.name[:2]
    assert lines[0].startswith(f"# {chapter} · ")
    assert "| to read | to run | level | needs |" in lines
    second = [line[3:] for line in lines if line.startswith("## ")]
    assert second in (FIRST + LAST, FIRST + ["Inside one step"] + LAST)
    third = [line[4:].partition(" · ")[0] for line in lines if line.startswith("### ")]
    assert third == [f"{chapter}-{letter}" for letter in "abc"]


@every
def test_the_first_cell_sets_x64_and_prints_versions(path):
    first = cells(path, "code")[0].source
    assert 'jax.config.update("jax_enable_x64", True)' in first and "print(" in first
    assert "{dynopt.__version__}" in first and "{jax.__version__}" in first


@lesson
def test_the_reader_predicts_before_seeing(path):
    assert [
        cell.source.split("  #")[0]
        for cell in section(path, "Prediction")
        if cell.cell_type == "code"
    ] == ["prediction = ..."]


@lesson
def test_the_main_picture_is_one_of_the_library(path):
    code = [cell.source for cell in section(path, "Picture") if cell.cell_type == "code"]
    last = ast.parse(code[0]).body[-1]
    assert isinstance(last, ast.Expr) and is_call_of(last.value, "figures")


@every
def test_every_picture_is_shown_by_the_library_with_its_alt_text(path):
    """A `Picture` at the end of a cell brings its alt text along; nothing else draws."""
    for tree in trees(path):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert "matplotlib" not in ast.unparse(node)
        drawn = [node for node in ast.walk(tree) if is_call_of(node, "figures")]
        shown = [tree.body[-1].value] if tree.body and isinstance(tree.body[-1], ast.Expr) else []
        assert all(node in shown for node in drawn), "a picture is drawn but not shown"
    shown, about = dynopt.figures.Picture(alt='f < "1"')._repr_mimebundle_()
    assert (
        about == {"image/png": {"alt": 'f < "1"'}}
        and 'alt="f &lt; &quot;1&quot;"' in shown["text/html"]
    )


@lesson
def test_the_number_is_printed_and_asserted(path):
    code = "\n".join(cell.source for cell in section(path, "Number") if cell.cell_type == "code")
    assert "print(" in code and "assert " in code


@lesson
def test_the_mathematics_is_there(path):
    assert any("$$" in cell.source for cell in section(path, "Why"))


@lesson
def test_a_convention_is_shown_from_the_dictionary(path):
    code = [cell.source for cell in section(path, "Convention") if cell.cell_type == "code"]
    assert code and all(source.startswith("conventions[") for source in code)


@every
def test_no_function_is_longer_than_five_lines(path):
    for tree in trees(path):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                assert node.end_lineno - node.lineno < 5, f"{node.name}: the library lacks a word"


@every
def test_nothing_is_downloaded_or_installed(path):
    text = "\n".join(cell.source for cell in cells(path, "code"))
    for word in ("http", "urllib", "requests", "!pip", "%pip", "fetch_"):
        assert word not in text


@every
def test_each_exercise_is_an_answer_and_one_line_that_checks_it(path):
    code, chapter = cells(path, "code"), path.name[:2]
    asked = []
    for i, cell in enumerate(code):
        if "check." not in cell.source.replace("import check", ""):
            continue
        (line,) = ast.parse(cell.source).body
        assert isinstance(line, ast.Expr) and is_call_of(line.value, "check")
        name = line.value.args[0].value
        asked.append(name)
        assert line.value.func.attr == check.exercises(chapter)[name].check
        answer = ast.parse(code[i - 1].source)
        assigned = {
            node.id
            for node in ast.walk(answer)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        assigned |= {node.name for node in answer.body if isinstance(node, ast.FunctionDef)}
        given = [
            ast.unparse(argument)
            for argument in line.value.args[1:]
            if not isinstance(argument, ast.Constant)
        ]
        assert given and set(given) <= assigned
        assert cell.metadata["tags"] == ["raises-exception"], (
            "a reader who runs all goes on to the next"
        )
        grade, asked_of = cell.metadata["nbgrader"], code[i - 1].metadata["nbgrader"]
        assert (grade["grade"], grade["locked"], grade["grade_id"]) == (True, True, f"{name}-check")
        assert (asked_of["solution"], asked_of["locked"], asked_of["grade_id"]) == (
            True,
            False,
            f"{name}-answer",
        )
        assert "..." in code[i - 1].source
    assert asked == list(check.exercises(chapter))
