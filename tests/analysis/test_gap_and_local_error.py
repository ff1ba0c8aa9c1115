"""A gap is the gap: closed forms, matched times, and a solver error that is measured and small beside it."""

import sys
import warnings
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from dynopt import SGD, Adam, Momentum, Problem, RMSprop, analysis, iterate, problems
from dynopt.errors import SolverFailure
from dynopt.optimizers import catalogue
from dynopt.trajectories import with_dtype


class Either(eqx.Module):
    """A bowl or Rosenbrock's function: one loss, so that one compilation serves both."""

    share: Array

    def __call__(self, x):
        return self.share @ jnp.stack([jnp.sum(jnp.array([1.0, 4.0]) * x**2) / 2, valley.loss(x)])


STEPS = 60
valley = problems.rosenbrock()
bowl = Problem(Either(jnp.array([1.0, 0.0])), [1.0, -1.0], name="bowl")
rosenbrock = Problem(Either(jnp.array([0.0, 1.0])), valley.x0, name="rosenbrock")
line = Problem(lambda x: jnp.sum(x**2) / 2, [1.0], name="line")
warm = {name: cls(0.01, **({"bias_correction": True} if name == "rmsprop" else {})) for name, cls in catalogue.items()}


@pytest.mark.parametrize(("h", "error"), [(0.1, 0.01920), (0.05, 0.00939), (0.025, 0.00465)])
def test_the_gap_of_gradient_descent_at_time_one(h, error):
    """e^(-1) - (1-h)^(1/h) on f = x²/2."""
    gap = analysis.gap(SGD(h), line, round(1 / h))
    assert float(gap.error[-1]) == pytest.approx(error, abs=5e-6)
    np.testing.assert_allclose(gap.error, np.exp(-gap.t) - (1 - h) ** np.arange(round(1 / h) + 1), atol=1e-9)


def test_the_gap_of_momentum_is_that_of_the_closed_forms():
    quadratic = problems.quadratic([1.0, 4.0])
    page, x0 = Momentum(0.01), quadratic.start()
    gap = analysis.gap(page, quadratic, 40)
    map = jax.jit(jax.vmap(lambda k: quadratic.loss.momentum(k, x0, 0.01, 0.9)))(jnp.arange(41))
    flow = jax.jit(jax.vmap(lambda t: quadratic.loss.oscillator(t, x0, page.friction)))(gap.t)
    np.testing.assert_allclose(gap.error, np.linalg.norm(map - flow, axis=1), atol=1e-9)


def test_the_gap_stays_below_the_textbook_bound():
    """(h/2) max|x″| (e^(LT) - 1)/L for Euler's method; here L = 4 and |x″| ≤ |λ² x0|."""
    h, L = 0.02, 4.0
    gap = analysis.gap(SGD(h), bowl, STEPS)
    bound = h / 2 * np.linalg.norm([1.0, 16.0]) * (np.exp(L * np.asarray(gap.t)) - 1) / L
    assert (np.asarray(gap.error) <= bound).all() and gap.largest > 0


@pytest.mark.parametrize("name", catalogue)
@pytest.mark.parametrize("problem", [rosenbrock, bowl], ids=["rosenbrock", "bowl"])
def test_the_solvers_error_is_below_a_thousandth_of_the_gap(name, problem):
    """And its estimate is honest: an independent solver at its own tightest tolerance agrees to a few times it."""
    page = warm[name].refine(10) if problem.name == "rosenbrock" else warm[name]
    gap = analysis.gap(page, problem, STEPS)
    assert gap.certified and np.max(gap.solver_error) <= 1e-3 * gap.largest

    from scipy.integrate import solve_ivp

    y0, end = page.init(problem.start(), None), float(gap.t[-1])
    field = partial(velocity, with_dtype(page, jnp.float64), problem.loss)
    reference = solve_ivp(field, (0, end), np.concatenate(y0), "DOP853", t_eval=[end], rtol=1e-12, atol=1e-14)
    assert np.linalg.norm(reference.y[:2, -1] - gap.flow.x[-1]) <= 1e-3 * gap.largest


@eqx.filter_jit
def velocity(page, loss, t, flat):
    y = page.init(flat[:2], None)
    return jnp.concatenate(page.flow(t, type(y)(*jnp.split(flat, len(y))), jax.grad(loss)))


def test_a_loose_tolerance_is_tightened_until_it_serves():
    gap = analysis.gap(SGD(0.01), bowl, STEPS, rtol=1e-2)
    assert gap.certified and gap.flow.stats["rtol"] <= 1.1e-6


def test_a_gap_that_cannot_be_certified_says_so(monkeypatch):
    monkeypatch.setattr(sys.modules["dynopt.analysis.gap"], "SHARE", 1e-20)
    with pytest.warns(
        UserWarning, match="the solver's own error, .*, is more than a thousandth of the gap of SGD.* on bowl"
    ):
        assert not analysis.gap(SGD(0.1), bowl, STEPS).certified


def test_a_run_compared_with_itself_has_no_gap_and_a_shift_by_one_step_has():
    from dynopt.analysis.gap import distance

    run = iterate(Adam(0.01), bowl, STEPS)
    assert (distance(run, run) == 0).all()
    later = jax.tree.map(lambda a: a[1:], run.y.x)
    assert np.linalg.norm(later - run.y.x[:-1], axis=1).min() > 0.005


def test_a_diverged_map_keeps_the_gap_of_its_beginning():
    gap = analysis.gap(SGD(0.6), bowl, 4000, throw=False)
    seen = np.isfinite(gap.error)
    assert np.isnan(gap.error[~seen]).all() and np.isfinite(gap.largest)
    assert seen[:20].all() and not seen[-1] and gap.map.status.name == "diverged" and gap.flow.status.name == "ok"
    with pytest.raises(SolverFailure):
        analysis.gap(SGD(0.6), bowl, 4000)


def test_gap_and_local_error_print_their_claim():
    assert repr(analysis.gap(SGD(0.1), line, 10)) == "Gap(SGD(learning_rate=0.1) on line, largest 0.0192)"
    assert (
        repr(analysis.local_error(SGD(0.1), line, 30)) == "LocalError(SGD(learning_rate=0.1) on line, largest 0.00484)"
    )


# --- one step


def test_the_local_error_of_gradient_descent_on_a_quadratic():
    """From xₖ = (1-h)ᵏ one step gives (1-h) xₖ, the flow e^(-h) xₖ."""
    seen = analysis.local_error(SGD(0.1), line, 30)
    np.testing.assert_allclose(seen.error, (np.exp(-0.1) - 0.9) * 0.9 ** np.arange(30), rtol=1e-8)
    np.testing.assert_array_equal(seen.t, seen.map.t[:-1])
    assert (seen.solver_error <= 1e-9 * seen.error).all()
    wide = analysis.local_error(SGD(0.5), line, 30)  # so wide a step that the solver must divide it
    np.testing.assert_allclose(wide.error[:5], (np.exp(-0.5) - 0.5) * 0.5 ** np.arange(5), rtol=1e-10)


def test_where_the_map_has_overflowed_there_is_no_local_error():
    quartic = Problem(lambda x: jnp.sum(x**4), [2.0], name="quartic")
    seen = analysis.local_error(SGD(1.0), quartic, 30, throw=False)
    assert np.isinf(seen.map.y.x).any()
    assert np.isfinite(seen.error[0]) and np.isnan(seen.error[-1]) and not np.isinf(seen.error).any()


@pytest.mark.parametrize("name", catalogue)
def test_one_step_errs_by_h_squared(name):
    """At the same places and times, the 20 after 20 steps, h → h/2 divides the error of one step by 4 (slope 2)."""
    page, smooth = warm[name].refine(4), problems.beale()
    errors = [analysis.local_error(page.refine(n), smooth, 80).error[20 * n : 40 * n : n] for n in (1, 2)]
    slopes = np.log2(np.divide(*errors))
    assert abs(np.median(slopes) - 2) < 0.05


def test_rmsprop_from_zero_errs_by_more_in_its_first_step():
    seen = analysis.local_error(RMSprop(0.001), bowl, 40).error
    assert seen[0] > 20 * np.median(seen)


def test_float32_works_and_nothing_warns():
    bowl32 = Problem(lambda x: jnp.sum(x**2) / 2, np.array([1.0], np.float32), name="bowl32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gap, local = analysis.gap(SGD(0.1), bowl32, 10), analysis.local_error(SGD(0.1), bowl32, 10)
    assert gap.error.dtype == local.error.dtype == jnp.float32
    assert float(gap.error[-1]) == pytest.approx(0.01920, abs=1e-4)
