"""One table of measurements: what the command measures is what `--show-code` says."""

from contextlib import suppress

import jax
import numpy as np
import pytest

from dynopt import analysis
from dynopt.compare.measurements import FIGURES, MEASUREMENTS, measure, shown_in
from dynopt.compare.options import Options
from dynopt.compare.script import measuring
from dynopt.compare.studies import plan
from dynopt.errors import SolverFailure

ids = [measurement.name for measurement in MEASUREMENTS]


@pytest.fixture(scope="module")
def study():
    """Every figure of three optimizers: SGD has no momentum, and RMSprop no modified flow."""
    options = Options(
        problem=("booth",),
        optimizers=("sgd", "momentum", "rmsprop"),
        steps=5,
        x0=(-1.0, 2.0),
        figures=tuple(FIGURES),
    )
    (study,) = plan(options)
    return study


@pytest.fixture(scope="module")
def results(study):
    return [measure(study, name) for name in study.optimizers]


@pytest.mark.parametrize("measurement", MEASUREMENTS, ids=ids)
def test_the_code_of_a_measurement_gives_what_the_command_measures(study, results, measurement):
    names = {
        "analysis": analysis,
        "suppress": suppress,
        "SolverFailure": SolverFailure,
        "problem": study.problem,
        "optimizers": list(study.optimizers.values()),
    }
    exec(measuring(study, measurement), names)
    coded = names[measurement.name]
    measured = [result for each in results for result in each.get(measurement.name, ())]
    assert len(coded) == len(measured) > 0
    for one, other in zip(coded, measured, strict=True):
        assert type(one) is type(other) and repr(one) == repr(other)
        leaves = jax.tree.leaves(one), jax.tree.leaves(other)
        for a, b in zip(*leaves, strict=True):
            np.testing.assert_array_equal(a, b)


def test_each_measurement_has_a_name_of_its_own_and_each_figure_a_measurement():
    assert len(set(ids)) == len(ids)
    assert all(shown_in(figure) for figure in FIGURES)
    shown = {measurement for figure in FIGURES for measurement in shown_in(figure)}
    assert shown == set(MEASUREMENTS)


def test_an_optimizer_is_measured_only_where_it_fits(study):
    assert study.measured["comparisons"] == ("sgd", "momentum", "rmsprop")
    assert list(study.measured["modified"]) == ["sgd", "momentum"]
    assert list(study.measured["stability"]) == ["momentum"]
