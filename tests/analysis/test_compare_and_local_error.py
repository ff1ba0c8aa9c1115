"""The global error agrees with closed forms, and the solver's own error in it is measured and small."""

import dataclasses
import re
import sys
import warnings
from functools import partial

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from every_optimizer import smooth_optimizers
from jax.flatten_util import ravel_pytree
from losses import Rounded, mixture, polynomial, shaped_for

from dynopt import SGD, Adam, Momentum, Problem, RMSprop, Status, analysis, iterate, problems
from dynopt.analysis.compare import distance
from dynopt.errors import InvalidValue, SolverFailure
from dynopt.optimizers.base import Regularity
from dynopt.runs.prepare import fit_to_start, flatten_loss

STEPS = 50
bowl = mixture("bowl", [1.0, -1.0])
rosenbrock = mixture("rosenbrock", problems.rosenbrock().x0)
single = Problem(bowl.loss, np.array([1.0, -1.0], np.float32), name="single")
coarse = Problem(Rounded(bowl.loss), [1.0, -1.0], name="coarse")
stiff = polynomial("stiff", [1.0, 1.0])
line = Problem(lambda x: jnp.sum(x**2) / 2, [1.0], name="line")
FIRST = ("sgd", "momentum", "rmsprop", "adam")
warm = smooth_optimizers(0.01, FIRST)
CASES = [(name, problem) for name in FIRST for problem in (bowl, rosenbrock)]


@pytest.mark.parametrize(("h", "error"), [(0.1, 0.01920), (0.05, 0.00939), (0.025, 0.00465)])
def test_the_global_error_of_gradient_descent_at_time_one(h, error):
    """e^(-1) - (1-h)^(1/h) on f = x²/2."""
    comparison = analysis.compare(SGD(h), line, 40)
    assert float(comparison.error[round(1 / h)]) == pytest.approx(error, abs=5e-6)
    np.testing.assert_allclose(
        comparison.error, np.exp(-comparison.t) - (1 - h) ** np.arange(41), atol=1e-9
    )


def test_the_global_error_of_momentum_is_that_of_the_closed_forms():
    optimizer, x0, quadratic = Momentum(0.01), bowl.start(), problems.quadratic([1.0, 4.0]).loss
    comparison = analysis.compare(optimizer, bowl, STEPS)
    map = jax.jit(jax.vmap(lambda k: quadratic.momentum(k, x0, 0.01, 0.9)))(jnp.arange(STEPS + 1))
    flow = jax.jit(jax.vmap(lambda t: quadratic.oscillator(t, x0, optimizer.friction)))(
        comparison.t
    )
    np.testing.assert_allclose(comparison.error, np.linalg.norm(map - flow, axis=1), atol=1e-9)


def test_the_global_error_stays_below_the_textbook_bound():
    """(h/2) max|x″| (e^(LT) - 1)/L for Euler's method; here L = 4 and |x″| ≤ |λ² x0|."""
    h, L = 0.02, 4.0
    comparison = analysis.compare(SGD(h), bowl, STEPS)
    bound = h / 2 * np.linalg.norm([1.0, 16.0]) * (np.exp(L * np.asarray(comparison.t)) - 1) / L
    assert (np.asarray(comparison.error) <= bound).all() and comparison.largest > 0


@pytest.mark.parametrize(
    ("name", "problem"), CASES, ids=[f"{name}-{problem.name}" for name, problem in CASES]
)
def test_the_solvers_error_is_below_a_thousandth_of_the_global_error(name, problem):
    """And an independent solver at its own tightest tolerance differs by less than the estimate, but not by far."""
    optimizer = warm[name].refine(10) if problem.name == "rosenbrock" else warm[name]
    problem = shaped_for(optimizer, problem)
    comparison = analysis.compare(optimizer, problem, STEPS, rtol=1e-5)
    assert comparison.resolved

    from scipy.integrate import solve_ivp

    optimizer, start, end = (
        fit_to_start(optimizer, problem.start(), jnp.float64),
        problem.start(),
        float(comparison.t[-1]),
    )
    y0, field = (
        first_point(optimizer, problem.loss, start),
        partial(velocity, optimizer, problem.loss, start),
    )
    reference = solve_ivp(
        lambda t, y: field(np.asarray(t, float), y),
        (0, end),
        y0,
        "DOP853",
        t_eval=[end],
        rtol=1e-12,
        atol=1e-14,
    )
    true = np.linalg.norm(reference.y[:2, -1] - comparison.flow.y.x[-1].ravel())
    estimate = float(comparison.solver_error.max())
    assert true < estimate <= 1e-3 * comparison.largest and estimate < 3000 * true


@eqx.filter_jit
def first_point(optimizer, loss, start):
    x, _, grad = flatten_loss(loss, start)
    return jnp.concatenate(optimizer.init_flow(x, grad))


@eqx.filter_jit
def velocity(optimizer, loss, start, t, flat):
    x, _, grad = flatten_loss(loss, start)
    _, unravel = ravel_pytree(optimizer.init_flow(x, grad))
    return jnp.concatenate(optimizer.vector_field(t, unravel(flat), grad))


@pytest.mark.parametrize(
    ("optimizer", "problem", "curvatures", "options"),
    [
        (SGD(0.05), bowl, [1.0, 4.0], {}),
        (SGD(0.05), bowl, [1.0, 4.0], {"rtol": 1e-2}),
        (Momentum(0.01), bowl, None, {}),
        (SGD(1.9e-6), stiff, [1e6, 1.0], {"solver": diffrax.Kvaerno5()}),
    ],
    ids=["gradient descent", "loose", "momentum", "stiff"],
)
def test_the_estimate_of_the_solvers_error_is_above_the_true_one_by_at_most_a_thousand(
    optimizer, problem, curvatures, options
):
    """It is the error of the solution at a tolerance that is a hundred times as coarse.

    On the curvature 10⁶ Kvaerno5 errs by 30 times its tolerance or more, and the estimate sees it.
    """
    comparison = analysis.compare(optimizer, problem, STEPS, **options)
    if curvatures is None:
        quadratic, x0 = problems.quadratic([1.0, 4.0]).loss, problem.start()
        exact = jax.vmap(lambda t: quadratic.oscillator(t, x0, optimizer.friction))(comparison.t)
    else:
        exact = problem.x0 * np.exp(-np.outer(comparison.t, curvatures))
    true = np.linalg.norm(comparison.flow.x - exact, axis=1).max()
    estimate = comparison.solver_error.max()
    assert true < estimate < 1000 * true
    if "solver" in options:
        assert true > 30 * comparison.flow.stats["rtol"] and comparison.resolved


def test_a_loss_in_single_precision_is_not_called_resolved_below_its_round_off():
    """In double precision the largest error is h t |H g|/2 = 4.008e-12 to first order in h."""
    with pytest.warns(UserWarning, match="a thousandth .* the loss rounds to 1e-07; compute it in"):
        tiny = analysis.compare(SGD(1e-7), coarse, STEPS)
    true = (STEPS * 1e-7 * 1e-7 / 2) * np.linalg.norm([1.0, 16.0])
    wrong = abs(tiny.largest - true)
    assert not tiny.resolved and wrong < tiny.solver_error.max() < 100 * wrong
    large = analysis.compare(SGD(1e-2), coarse, STEPS)
    assert large.resolved
    np.testing.assert_allclose(
        large.error, analysis.compare(SGD(1e-2), bowl, STEPS).error, atol=1e-3 * large.largest
    )


def test_a_loose_tolerance_is_tightened_until_the_error_is_resolved():
    comparison = analysis.compare(SGD(0.01), bowl, STEPS, rtol=1e-2)
    assert comparison.resolved and comparison.flow.stats["rtol"] <= 1.1e-6


def test_a_global_error_that_cannot_be_resolved_warns(monkeypatch):
    monkeypatch.setattr(sys.modules["dynopt.analysis.compare"], "MAX_SOLVER_FRACTION", 1e-20)
    with pytest.warns(
        UserWarning,
        match="the solver's own error, .*, is more than a thousandth of the largest error of SGD.* on bowl",
    ):
        assert not analysis.compare(SGD(0.1), bowl, STEPS).resolved


def test_a_comparison_is_resolved_below_a_thousandth_of_the_largest_error():
    comparison = analysis.compare(SGD(0.1), line, 10)
    for fraction, is_resolved in ((0.9e-3, True), (1.1e-3, False)):
        solver_error = jnp.full_like(comparison.error, fraction * comparison.largest)
        assert dataclasses.replace(comparison, solver_error=solver_error).resolved == is_resolved


def make_stiff(monkeypatch, finest):
    """A solver that gives up where it is asked for more than `finest`."""
    module = sys.modules["dynopt.analysis.compare"]
    solve = module.integrate

    def limited(*args, rtol, throw=True, **options):
        run = solve(*args, rtol=rtol, throw=throw, **options)
        if rtol >= finest:
            return run
        run = dataclasses.replace(run, result=jnp.asarray(Status.max_steps))
        if not throw:
            return run
        raise SolverFailure("too stiff", partial=run, status=Status.max_steps, t_reached=0.0)

    monkeypatch.setattr(module, "integrate", limited)


@pytest.mark.parametrize("throw", [True, False])
def test_a_flow_too_stiff_for_the_finer_solution_is_compared_with_a_looser_one(throw, monkeypatch):
    unlimited = analysis.compare(SGD(0.01), bowl, STEPS)
    make_stiff(monkeypatch, finest=1e-10)
    comparison = analysis.compare(SGD(0.01), bowl, STEPS, throw=throw)
    assert comparison.flow.status == Status.ok and comparison.flow.stats["rtol"] == pytest.approx(
        1e-9
    )
    np.testing.assert_allclose(comparison.error, unlimited.error, rtol=1e-5)
    assert 0 < comparison.solver_error.max() < 1e-6 and comparison.resolved


@pytest.mark.parametrize("fraction, warns", [(0.05, False), (0.2, True)])
def test_in_float32_it_warns_if_a_tenth_of_the_error_is_the_solvers(fraction, warns, monkeypatch):
    comparison, module = (
        analysis.compare(SGD(0.1), single, STEPS),
        sys.modules["dynopt.analysis.compare"],
    )
    monkeypatch.setattr(
        module, "distance", lambda a, b: comparison.error * (1 if a.kind == "map" else fraction)
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        analysis.compare(SGD(0.1), single, STEPS)
    sentence = "the solver's own error, .*, is more than a tenth of the largest error of SGD.*; use float64"
    assert [bool(re.match(sentence, str(one.message))) for one in caught] == [True] * warns


def test_a_run_has_no_distance_from_itself_and_one_from_itself_a_step_later():
    run = iterate(Adam(0.01), bowl, STEPS)
    assert (distance(run, run) == 0).all()
    later = jax.tree.map(lambda a: a[1:], run.y.x)
    assert np.linalg.norm(later - run.y.x[:-1], axis=1).min() > 0.005


def test_the_curve_is_the_flow_at_many_times_in_each_step():
    comparison = analysis.compare(SGD(0.5), line, 8)
    assert len(comparison.curve.t) == 8 * 32 + 1
    assert np.array_equal(comparison.curve.y.x[::32], comparison.flow.y.x)
    assert np.allclose(comparison.curve.y.x[:, 0], np.exp(-comparison.curve.t), rtol=1e-6)
    assert len(analysis.compare(SGD(0.5), line, 3000).curve.t) == 3001


def test_a_diverged_map_keeps_the_error_of_its_beginning():
    comparison = analysis.compare(SGD(0.6), bowl, 4000, throw=False)
    is_finite = np.isfinite(comparison.error)
    assert np.isnan(comparison.error[~is_finite]).all() and np.isfinite(comparison.largest)
    assert (
        is_finite[:20].all()
        and not is_finite[-1]
        and comparison.map.status.name == "diverged"
        and comparison.flow.status.name == "ok"
    )
    with pytest.raises(SolverFailure):
        analysis.compare(SGD(0.6), bowl, 4000)


def test_comparison_and_local_error_print_the_largest_error():
    assert (
        repr(analysis.compare(SGD(0.1), line, 40))
        == "Comparison(SGD(learning_rate=0.1) on line, largest error 0.0192)"
    )
    assert (
        repr(analysis.local_error(SGD(0.1), line, 40))
        == "LocalError(SGD(learning_rate=0.1) on line, largest 0.00484)"
    )


def test_a_comparison_tells_how_its_map_failed():
    failed = analysis.compare(SGD(3.0), line, 40, throw=False)
    assert repr(failed).endswith(f", map diverged at step {failed.map.stats['first_bad_step']})")


# --- one step


def test_the_local_error_of_gradient_descent_on_a_quadratic():
    """From xₖ = (1-h)ᵏ one step gives (1-h) xₖ, the flow e^(-h) xₖ."""
    local = analysis.local_error(SGD(0.1), line, 40)
    np.testing.assert_allclose(local.error, (np.exp(-0.1) - 0.9) * 0.9 ** np.arange(40), rtol=1e-8)
    np.testing.assert_array_equal(local.t, local.map.t[:-1])
    assert (local.solver_error <= 1e-9 * local.error).all()
    wide = analysis.local_error(SGD(0.5), line, 40)  # so long a step that the solver must divide it
    np.testing.assert_allclose(
        wide.error[:5], (np.exp(-0.5) - 0.5) * 0.5 ** np.arange(5), rtol=1e-10
    )
    assert (wide.solver_error > 0).any()


class Inexact(SGD):
    """Its flow is declared to be known to a relative error only, and so coarsely it is solved."""

    error: float = eqx.field(static=True)

    def __init__(self, learning_rate, error):
        self.h, self.error = learning_rate, error

    regularity = property(
        lambda self: Regularity(flow_error_ulps=self.error / float(np.finfo(float).eps))
    )


@pytest.mark.parametrize(
    ("h", "error"), [(0.1, 1e-4), (0.45, 1e-8)], ids=["one step of the solver", "several"]
)
def test_the_solvers_error_in_the_local_error_is_above_the_true_one_by_at_most_a_hundred(h, error):
    """The difference from |e^(-hλ) - (1 - hλ)| |xₖ|."""
    local, curvatures = analysis.local_error(Inexact(h, error), bowl, 5), np.array([1.0, 4.0])
    factors = np.exp(-h * curvatures) - (1 - h * curvatures)
    true = abs(local.error - np.linalg.norm(factors * np.asarray(local.map.x)[:-1], axis=1))
    assert (true < local.solver_error).all() and (local.solver_error < 100 * true).all()


def test_each_flow_starts_at_the_time_of_its_step():
    """The flow of Adam depends on time; an independent solver agrees with the local error of each step."""
    from scipy.integrate import solve_ivp

    optimizer = fit_to_start(warm["adam"], bowl.start(), jnp.float64)
    local, h = analysis.local_error(warm["adam"], bowl, 4), float(optimizer.h)
    for k in (1, 2, 3):
        y, after = (jnp.concatenate([a[j] for a in local.map.y]) for j in (k, k + 1))
        solution = solve_ivp(
            lambda t, y: velocity(optimizer, bowl.loss, bowl.start(), np.asarray(t, float), y),
            (k * h, (k + 1) * h),
            y,
            "DOP853",
            rtol=1e-12,
            atol=1e-14,
        )
        error = np.linalg.norm(solution.y[:2, -1] - after[:2])
        assert local.error[k] == pytest.approx(error, rel=1e-5)


def test_the_local_error_is_nan_where_the_map_has_overflowed():
    quartic = Problem(lambda x: jnp.sum(x**4), [2.0], name="quartic")
    local = analysis.local_error(SGD(1.0), quartic, 30, throw=False)
    assert np.isinf(local.map.y.x).any()
    assert (
        np.isfinite(local.error[0])
        and np.isnan(local.error[-1])
        and not np.isinf(local.error).any()
    )


@pytest.mark.parametrize("name", FIRST)
def test_one_step_errs_by_h_squared(name):
    """At the same places and times, the 20 after 20 steps, h → h/2 divides the error of one step by 4 (slope 2)."""
    optimizer, smooth = warm[name].refine(4), problems.beale()
    errors = [
        analysis.local_error(optimizer.refine(n), smooth, 80).error[20 * n : 40 * n : n]
        for n in (1, 2)
    ]
    slopes = np.log2(np.divide(*errors))
    assert abs(np.median(slopes) - 2) < 0.05


def test_rmsprop_from_zero_errs_by_more_in_its_first_step():
    local = analysis.local_error(RMSprop(0.001), bowl, STEPS).error
    assert local[0] > 20 * np.median(local)


def test_a_local_error_needs_a_step():
    with pytest.raises(InvalidValue, match="`steps` must be a whole number of at least 1, got 0"):
        analysis.local_error(SGD(0.1), line, 0)
    with pytest.raises(
        InvalidValue, match="`max_steps` must be a whole number of at least 1, got 0"
    ):
        analysis.local_error(SGD(0.1), line, 2, max_steps=0)


def test_float32_works_and_nothing_warns():
    bowl32 = Problem(lambda x: jnp.sum(x**2) / 2, np.array([1.0], np.float32), name="bowl32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        comparison, local = (
            analysis.compare(SGD(0.1), bowl32, 10),
            analysis.local_error(SGD(0.1), bowl32, 10),
        )
    assert comparison.error.dtype == local.error.dtype == jnp.float32
    assert float(comparison.error[-1]) == pytest.approx(0.01920, abs=1e-4)


@pytest.mark.parametrize("solver", [diffrax.Euler(), diffrax.LeapfrogMidpoint()])
def test_a_solver_without_tolerance_is_measured_against_the_flow(solver):
    bowl = Problem(lambda x: jnp.sum(x**2) / 2, [1.0], name="bowl")
    with pytest.warns(UserWarning, match=f"{type(solver).__name__} has no tolerance"):
        comparison = analysis.compare(SGD(0.5), bowl, 4, solver=solver)
    exact = np.exp(-0.5 * np.arange(5))
    solver_error = np.abs(comparison.flow.x[:, 0] - exact)
    np.testing.assert_allclose(comparison.solver_error, solver_error, rtol=1e-6, atol=1e-9)
    assert not comparison.resolved
