"""Doctests of one file alone: `pytest dynopt/analysis/weak_order.py`."""

import importlib


def pytest_collect_file(file_path, parent):
    """Import a module of dynopt by its name before pytest does so by its path.

    pytest first imports the package of a file and then runs the file, also if the package has
    imported it already. There would be two classes of each name, which are not the same type.
    """
    root = parent.config.rootpath
    if file_path.suffix == ".py" and not file_path.stem.startswith("__"):
        if root / "dynopt" in file_path.parents:
            importlib.import_module(".".join(file_path.relative_to(root).with_suffix("").parts))
