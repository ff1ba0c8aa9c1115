"""What the README says is so."""

import re
import subprocess
import sys
from pathlib import Path

import optax
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


def run(code, folder):
    out = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    return out.stdout


ten, five = (code for code in re.findall(r"```python\n(.*?)```", README, re.S))


def test_the_ten_lines_run_as_written(tmp_path):
    assert len([line for line in ten.splitlines() if line.strip()]) <= 10
    assert run(ten, tmp_path).count("Order(") == 3 and (tmp_path / "paths.png").stat().st_size > 10_000


def test_five_lines_prove_the_flow_of_ones_own_optimizer_and_its_modified_flow(tmp_path):
    assert len([line for line in five.splitlines() if line.strip()]) == 5
    first, second = re.findall(r"Order\(([\d.]+) ± [\d.]+, expected (\d)", run(five, tmp_path))
    assert float(first[0]) == pytest.approx(1, abs=0.02) and first[1] == "1"
    assert float(second[0]) == pytest.approx(2, abs=0.05) and second[1] == "2"


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("`sgd`", optax.sgd),
        ("`sgd`, momentum 0.9", lambda h: optax.sgd(h, momentum=0.9)),
        ("`sgd`, momentum 0.9, nesterov", lambda h: optax.sgd(h, momentum=0.9, nesterov=True)),
        ("`rmsprop`", optax.rmsprop),
        ("`adam`", optax.adam),
        ("`nadam`", optax.nadam),
    ],
)
def test_the_table_shows_the_critical_curvature_that_is_found(name, family):
    found = analysis.critical_curvature(dynopt.Optax(family, 0.01)) * 0.01
    assert f"| {name} | {found:.3f} |" in README


def test_every_picture_of_the_readme_is_committed():
    for picture in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README):
        assert (Path(dynopt.__file__).parent.parent / picture).is_file()
