"""Every notebook has the format of the course, stores no output, and equals its Markdown twin.

The tests read the folder `notebooks/`, so a new notebook needs no edit here.
"""

import ast
import contextlib
import itertools
import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from solving import prediction

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


@every_notebook
def test_no_cell_asserts_what_a_reader_may_change(path):
    for tree in trees(path):
        assert not any(isinstance(node, ast.Assert) for node in ast.walk(tree))


def held(cell):
    """The code that nbmake runs after a cell, which a reader neither sees nor runs."""
    return "\n".join(cell.metadata.get("nbmake", {}).get("post_cell_execute", []))


@every_lesson
def test_the_number_is_printed_and_held_by_a_test(path):
    code = [cell for cell in section(path, "Number") if cell.cell_type == "code"]
    printing = [cell for cell in code if "print(" in cell.source]
    assert printing and all("assert " in held(cell) for cell in printing)
    for cell in cells(path, "code"):
        ast.parse(held(cell))


@pytest.mark.parametrize("claim, holds", [("x == 3", True), ("x == 4", False)])
def test_nbmake_fails_if_a_number_is_not_what_it_was(claim, holds, tmp_path):
    """A kernel runs `x = 3` and then the assertion that the metadata of the cell holds."""
    nb_run = pytest.importorskip("nbmake.nb_run")
    cell = nbformat.v4.new_code_cell("x = 3")
    cell.metadata["nbmake"] = {"post_cell_execute": [f"assert {claim}"]}
    path = tmp_path / "one.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    failure = (
        contextlib.nullcontext() if holds else pytest.raises(Exception, match="execution fail")
    )
    with failure:
        assert nb_run.NotebookRun(path, 60).execute().error is None


TOLD = r"(?:[Aa]nswer|prediction is)\s+\*\*([ABC])\*\*"


@every_lesson
def test_the_prediction_is_answered_and_not_before_the_picture(path):
    right = prediction(path.name[:2])
    sources = [cell.source for cell in cells(path)]
    (answer,) = [i for i, source in enumerate(sources) if source.startswith("check.prediction(")]
    (guess,) = [i for i, source in enumerate(sources) if source.startswith("prediction = ...")]
    pictures = [i for i, source in enumerate(sources) if ".draw(" in source]
    assert guess < pictures[0] < answer
    assert sources[answer] == f'check.prediction("{path.name[:2]}", prediction)'
    told = [(i, m[1]) for i, source in enumerate(sources) for m in re.finditer(TOLD, source)]
    assert [letter for _, letter in told] == [right] and told[0][0] > answer


OPEN = r"\b[Ss]ay (why|which|in)\b|\bsay why\b|and why\b|Which (comparison|method)\b|For which|which would"


@every_lesson
def test_an_open_question_has_a_folded_model_answer_below_its_check(path):
    exercise, answers, questions = None, set(), set()
    for cell in section(path, "Exercises"):
        heading = re.match(r"### (\d\d-[abc])", cell.source)
        exercise = heading.group(1) if heading else exercise
        if heading and re.search(OPEN, " ".join(cell.source.split())):
            questions.add(exercise)
        if cell.source.startswith("<details><summary>Model answer</summary>\n\n"):
            assert cell.source.endswith("\n\n</details>")
            answers.add(exercise)
    assert questions == answers


def needs(path):
    """The lessons that the header of a notebook asks for, and those that it would be better with"""
    header = cells(path, "markdown")[0].source.splitlines()[-1].split("|")[-2]
    required, _, better = header.partition(";")
    return {*re.findall(r"\d\d", required)}, {*re.findall(r"\d\d", better)}


def with_what_they_need(chapters):
    """The lessons, and all that these need, and so on."""
    paths, all_of_them = {path.name[:2]: path for path in LESSONS}, set()
    to_do = set(chapters)
    while to_do:
        chapter = to_do.pop()
        all_of_them.add(chapter)
        to_do |= needs(paths[chapter])[0] - all_of_them
    return all_of_them


@pytest.mark.parametrize("column, minutes", [(3, 90), (4, 300)], ids=["lecture", "week"])
def test_a_route_holds_all_lessons_that_its_lessons_need(column, minutes):
    rows = [line.split("|") for line in START.with_suffix(".md").read_text().splitlines()]
    route = {row[1].strip()[:2] for row in rows if len(row) > column and "✓" in row[column]}
    assert len(route) >= 2 and with_what_they_need(route) == route
    header = [cells(path, "markdown")[0].source for path in LESSONS if path.name[:2] in route]
    assert sum(int(re.search(r"\| (\d+) min \|", text)[1]) for text in header) <= minutes


def test_the_routes_of_the_readme_hold_all_lessons_that_their_lessons_need():
    readme = (FOLDER.parent / "README.md").read_text()
    rows = re.findall(r"^\| .* \| (.*0\d.*) \|$", readme, re.M)
    chapters = {path.name[:2] for path in LESSONS}
    routes = []
    for row in rows:
        text = re.sub(r"\]\([^)]*\)", "", row).replace("01 to 05", "01, 02, 03, 04, 05")
        routes.append(set(re.findall(r"\d\d", text)))
        assert with_what_they_need(routes[-1]) == routes[-1]
    assert len(routes) >= 7 and set.union(*routes) == chapters


@every_lesson
def test_a_lesson_needs_each_earlier_lesson_that_it_refers_to(path):
    chapter, (required, better) = path.name[:2], needs(path)
    text = " ".join(cell.source for cell in cells(path, "markdown"))
    named = {*re.findall(r"[Nn]otebook (\d\d)\b", text), *re.findall(r"\b(\d\d)-[abc]\b", text)}
    earlier = {other for other in named if other < chapter}
    assert earlier <= with_what_they_need(required | better)


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
        if line.value.func.attr == "prediction":
            continue
        name, *arguments = line.value.args
        names.append(name.value)
        assert line.value.func.attr == check.exercises(chapter)[name.value].check
        given = {node.id for node in arguments if isinstance(node, ast.Name)}
        measured = given - assigned_names(ast.parse(previous.source))
        assert given > measured, "a check takes what the cell above it assigns"
        assert measured <= {"slope"}, "and what the lesson has measured"
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
