"""Write the Jupyter twin of a notebook: `python tests/course/pair.py notebooks/01-*.md`.

The Markdown file is the source. It gets a text cell for each heading and the tags of nbgrader on
answers and checks. The `.ipynb` file gets the same cells, no outputs, and cell ids that depend only
on the position of a cell.
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
    """Write the twin of a Markdown file, and the file itself with its tags."""
    notebook = jupytext.read(path)
    notebook.metadata["jupytext"] = {"formats": "ipynb,md:myst"}
    notebook.nbformat_minor = 5
    notebook.cells = [part for cell in notebook.cells for part in split_at_headings(cell)]
    previous = None
    for i, cell in enumerate(notebook.cells):
        cell.id = f"{path.stem[:2]}-{i:03d}"
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            exercise = re.match(r'check\.\w+\(\s*"(\d\d-[a-c])"', cell.source)
            if exercise and previous:
                previous.metadata["nbgrader"] = SOLUTION | {"grade_id": f"{exercise[1]}-answer"}
                cell.metadata["nbgrader"] = CHECK | {"grade_id": f"{exercise[1]}-check"}
                cell.metadata["tags"] = ["raises-exception"]
            previous = cell
    jupytext.write(notebook, path, fmt="md:myst")
    jupytext.write(notebook, path.with_suffix(".ipynb"))


def split_at_headings(cell):
    """A code cell as it is, and a text cell as one cell for each heading."""
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
