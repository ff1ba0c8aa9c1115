"""What the text invites to, changing a cell, runs: no cell asserts what a reader may change.

Only the cells that an edited cell needs are run. The edits that take longer are tried with the
notebooks themselves, that is, with `--nbmake`.
"""

import contextlib
import io
import math
import warnings
from pathlib import Path

import jax
import jupytext
import matplotlib.pyplot as plt
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
QUICK = [
    ("00", ["sgd ="], "SGD(0.05)", "SGD(0.6)"),
    ("01", ["errors ="], "0.05, 0.025)", "0.05, 0.025, 0.0125)"),
    ("03", ["kappa =", "above ="], "1.01 *", "3 *"),
    ("07", ["curvatures, h ="], "10.0, 100.0", "10.0, 50.0"),
    ("08", ["disagreement ="], "Adam(1.0)", "Adam(0.5, b1=0.5)"),
    ("09", ["examples, eta, batch ="], "0.1, 1", "0.5, 4"),
    ("13", ["slopes =", "runs ="], "[4.0, 5.0]", "[1.0, 5.0]"),
    ("14", ["def cut", "g1, g2 = jnp"], "[-1.0, 1.0]", "[1.0, 1.0]"),
    ("15", ["h, a, b ="], "0.1, 1.0, 0.0", "0.3, 2.0, 1.0"),
    ("16", ["W = np.array"], "[2.0, 1.0]", "[5.0, 1.0]"),
    ("17", ["def floor"], "s in (1, 4, 16)", "s in (2, 8)"),
]
SLOW = [
    ("00", ["sgd ="], "quadratic([1.0, 4.0])", "rosenbrock()"),
    ("00", ["sgd ="], "Momentum(0.02)", "Adam(0.1)"),
    ("01", ["errors ="], "[1.0], name", "[2.0], name"),
    ("02", ["slope =", "time_steps ="], "5e-5, 2.5e-5]", "5e-5]"),
    ("02", ["slope =", "turn ="], "refinements=7", "refinements=6"),
    ("03", ["threshold =", "figures.loss"], "(0.5, 0.99, 1.01)", "(0.5, 1.5, 20)"),
    ("04", ["bowl =", "to_flow, to_modified_flow ="], "SGD(0.1)", "SGD(0.2)"),
    ("05", ["parabola ="], "[0.5]", "[2.0]"),
    ("05", ["ill_conditioned ="], "[1.0, 100.0]", "[1.0, 50.0]"),
    ("06", ["start =", "rises =", "def largest_t2f"], "[1.0, 1.0]", "[2.0, 1.0]"),
    ("06", ["def largest_t2f"], "(3.0)", "(5.0)"),
    ("07", ["def times", "same, scaled ="], "1024", "1000"),
    ("08", ["adam =", "def first_step"], "b2, rate = 0.9, 0.999", "b2, rate = 0.8, 0.99"),
    (
        "09",
        ["examples, eta, batch =", "def mean_loss", "for run in runs"],
        "single = Minibatch(SGD(0.1), 1)",
        "single = Minibatch(Momentum(0.1), 4)",
    ),
    (
        "09",
        ["parabola, pairs =", "by_sgd, drift_alone", "balls ="],
        "Momentum(0.1, 0.9)",
        "Momentum(0.1, 0.99)",
    ),
    (
        "12",
        ["def euler", "kutta =", "curvatures, start ="],
        "geomspace(1, 100",
        "geomspace(1, 1000",
    ),
    ("12", ["def limited", "corner ="], "h=0.4", "h=0.2"),
    ("14", ["def first", "def cut", "sgd ="], "SGD(0.05)", "SGD(0.2)"),
    ("15", ["game =", "def in_one_go", "def distance"], "SGD(0.25)", "SGD(0.4)"),
    (
        "16",
        ["def size", "larger ="],
        "rate = problems.spectral_normalised(), 0.5",
        "rate = problems.spectral_normalised(key=1), 2.0",
    ),
    ("17", ["linking =", "lengths ="], "Adam(0.03): 200", "Adam(0.1): 100"),
]


def run_with(chapter: str, needed: list[str], old: str, new: str) -> str:
    """Run the first cell and those that say what is needed, edited; returns what they print."""
    (path,) = FOLDER.glob(f"{chapter}-*.md")
    setup, *cells = [c.source for c in jupytext.read(path).cells if c.cell_type == "code"]
    chosen = [cell for cell in cells if any(text in cell for text in needed)]
    assert old in "".join(chosen), f"no cell of {path.name} says {old}"
    names, printed = {}, io.StringIO()
    with (
        contextlib.redirect_stdout(printed),
        jax.numpy_rank_promotion("allow"),  # as it is outside of these tests
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # a reader sees them, and goes on
        for cell in (setup, *chosen):
            exec(cell.replace(old, new), names)
    plt.close("all")
    return printed.getvalue()


@pytest.mark.parametrize("edit", QUICK, ids=lambda edit: edit[0])
def test_a_reader_may_change_a_cell(edit):
    printed = run_with(*edit)
    if edit[0] == "01":  # the natural step of exercise 01-a
        errors = [
            abs((1 - rate) ** (1 / rate) - math.exp(-1)) for rate in (0.1, 0.05, 0.025, 0.0125)
        ]
        assert " ".join(f"{error:.5f}" for error in errors) in printed


@pytest.mark.parametrize("edit", SLOW, ids=lambda edit: f"{edit[0]} {edit[3]}")
def test_a_reader_may_change_a_cell_that_takes_longer(edit, request):
    if not request.config.getoption("--nbmake", False):
        pytest.skip("runs together with the notebooks; pass --nbmake")
    assert run_with(*edit)
