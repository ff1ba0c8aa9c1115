"""What the README says is so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import dynopt
from dynopt import analysis, problems
from dynopt.optimizers import catalogue

README = (Path(dynopt.__file__).parent.parent / "README.md").read_text()
rows = {cls.__name__: re.search(rf"^\| `{cls.__name__}` .*\| ([\d.]+) \|$", README, re.M) for cls in catalogue.values()}


@pytest.mark.parametrize("name", rows)
def test_the_table_shows_the_order_that_is_measured(name):
    row = rows[name]
    assert row is not None
    measured = analysis.order(getattr(dynopt, name)(0.001), problems.booth())
    assert f"{measured.pairwise[-1]:.2f}" == row.group(1)
    assert len(measured.pairwise) == 7


def test_corrected_rmsprop_has_the_order_that_the_readme_promises():
    measured = analysis.order(dynopt.RMSprop(0.001, bias_correction=True), problems.booth())
    assert f"order {measured.pairwise[-1]:.2f}." in README


def test_the_ten_lines_run_as_written(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    out = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert out.stdout.count("Order(") == 3 and (tmp_path / "paths.png").stat().st_size > 10_000


def test_every_picture_of_the_readme_is_committed():
    for picture in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README):
        assert (Path(dynopt.__file__).parent.parent / picture).is_file()
