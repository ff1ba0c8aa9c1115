"""One map compared with its flow and with its modified flow, which is one order nearer to it."""

import dataclasses
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from losses import mixture

from dynopt import SGD, Modified, Momentum, NesterovConvex, analysis, iterate, problems
from dynopt.errors import InvalidValue, SolverFailure

bowl = mixture("bowl", [1.0, -1.0])


def test_the_errors_are_those_of_the_flow_and_of_the_modified_flow():
    result = analysis.modified(Momentum(0.01), bowl, 20)
    plain, modified = (
        analysis.compare(optimizer, bowl, 20)
        for optimizer in (Momentum(0.01), Modified(Momentum(0.01)))
    )
    np.testing.assert_array_equal(result.error, plain.error)
    np.testing.assert_array_equal(result.modified_error, modified.error)
    np.testing.assert_array_equal(result.modified_flow.y.x, modified.flow.y.x)
    np.testing.assert_array_equal(result.t, plain.t)
    assert repr(result.optimizer) == repr(Momentum(0.01)) and result.problem is bowl
    assert isinstance(result.modified.optimizer, Modified)


def test_the_map_runs_once_and_both_flows_start_with_it(monkeypatch):
    module, runs = sys.modules["dynopt.analysis.modified"], []
    monkeypatch.setattr(
        module, "iterate", lambda *args, **options: runs.append(args) or iterate(*args, **options)
    )
    result = analysis.modified(SGD(0.03), bowl, 10, x0=[0.5, 2.0])
    assert len(runs) == 1 and result.modified.map is result.comparison.map is result.map
    for run in (result.map, result.flow, result.modified_flow):
        np.testing.assert_array_equal(run.y.x[0], [0.5, 2.0])


@pytest.mark.parametrize("order", [2, 3])
def test_the_modified_error_is_that_of_the_closed_form_of_gradient_descent(order):
    """On f = λx²/2 the modified flow decays at λ + hλ²/2 + h²λ³/3, cut off after h^(order - 1)."""
    h, curvatures = 0.05, np.array([1.0, 4.0])
    rates = sum(h**k * curvatures ** (k + 1) / (k + 1) for k in range(order))
    result = analysis.modified(SGD(h), bowl, 20, order=order)
    t = np.asarray(result.t)[:, None]
    difference = np.array([1.0, -1.0]) * ((1 - h * curvatures) ** (t / h) - np.exp(-rates * t))
    np.testing.assert_allclose(
        result.modified_error, np.linalg.norm(difference, axis=1), atol=1e-10
    )
    assert result.modified_error.max() < result.error.max() / 3


def test_a_run_that_fails_is_an_error_or_a_result():
    with pytest.raises(SolverFailure):
        analysis.modified(SGD(0.6), bowl, 4000)
    result = analysis.modified(SGD(0.6), bowl, 4000, throw=False)
    assert result.map.status.name == "diverged" and np.isnan(result.error[-1])


def test_what_has_no_modified_flow_is_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr(sys.modules["dynopt.analysis.modified"], "iterate", None)
    for optimizer, order in (
        (NesterovConvex(0.01), 2),
        (Modified(SGD(0.1)), 2),
        (SGD(0.1), 4),
    ):
        with pytest.raises(InvalidValue):
            analysis.modified(optimizer, bowl, 10, order=order)


def test_it_prints_both_errors():
    result = analysis.modified(SGD(0.03), problems.quadratic(), 50)
    assert repr(result) == (
        "ModifiedComparison(SGD(learning_rate=0.03) on quadratic, largest error 0.0954, "
        "of the modified flow 0.0183)"
    )
    half = dataclasses.replace(result.modified, error=jnp.asarray(result.modified_error) / 2)
    assert "modified flow 0.00917" in repr(dataclasses.replace(result, modified=half))
