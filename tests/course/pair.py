"""Write a notebook's twin from its Markdown: `python tests/course/pair.py notebooks/01-*.md`.

A markdown cell for each heading, tags of nbgrader on answers and checks, no outputs, and cell ids that stay.
"""

import re
import sys
from pathlib import Path

import jupytext
import nbformat

SOLUTION = {"grade": False, "locked": False, "schema_version": 3, "solution": True, "task": False}
CHECK = {
    "grade": True,
    "locked": True,
    "points": 1,
    "schema_version": 3,
    "solution": False,
    "task": False,
}


def pair(path: Path) -> None:
    notebook = jupytext.read(path)
    notebook.metadata["jupytext"] = {"formats": "ipynb,md:myst"}
    notebook.nbformat_minor = 5
    notebook.cells = [part for cell in notebook.cells for part in parts(cell)]
    before = None
    for i, cell in enumerate(notebook.cells):
        cell.id = f"{path.stem[:2]}-{i:03d}"
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            asked = re.match(r'check\.\w+\(\s*"(\d\d-[a-c])"', cell.source)
            if asked and before:
                before.metadata["nbgrader"] = SOLUTION | {"grade_id": f"{asked[1]}-answer"}
                cell.metadata["nbgrader"] = CHECK | {"grade_id": f"{asked[1]}-check"}
                cell.metadata["tags"] = ["raises-exception"]
            before = cell
    jupytext.write(notebook, path, fmt="md:myst")
    jupytext.write(notebook, path.with_suffix(".ipynb"))


def parts(cell):
    """The cell, or if it is text one for each heading."""
    if cell.cell_type != "markdown":
        return [cell]
    return [
        nbformat.v4.new_markdown_cell(text.strip())
        for text in re.split(r"\n(?=##)", cell.source)
        if text.strip()
    ]


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        pair(path)
