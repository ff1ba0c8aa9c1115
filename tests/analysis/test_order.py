"""The global error is O(h) for every optimizer with a warm start, O(√h) for RMSprop from zero; round-off is not fitted."""

import dataclasses
import re
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path

import jax
import numpy as np
import pytest
from every_optimizer import smooth_optimizers
from losses import MIXED, Rounded, mixture, polynomial, shaped_for

import dynopt
from dynopt import (
    SGD,
    Adam,
    Modified,
    Momentum,
    Problem,
    RMSprop,
    Status,
    analysis,
    integrate,
    iterate,
    problems,
)
from dynopt.analysis.slope import explain, find_window, fit_line, judge
from dynopt.errors import InvalidType, InvalidValue, SolverFailure
from dynopt.optimizers import catalogue
from dynopt.optimizers.base import Regularity

smooth = mixture("bent", [-2.0, 1.0], name="smooth")
bowl = mixture("bowl", [1.0, -1.0])
booth = mixture("booth", problems.booth().x0)
single = Problem(MIXED["bent"], np.array([-2.0, 1.0], np.float32), name="smooth")
warm = smooth_optimizers(0.001)
TABLE = (Path(dynopt.__file__).parent.parent / "docs" / "optimizers.md").read_text()
SENTENCES = " ".join(TABLE.split())


@pytest.mark.parametrize("name", warm)
def test_the_global_error_has_the_declared_order(name):
    optimizer = warm[name]
    measured = analysis.order(optimizer, shaped_for(optimizer, smooth))
    assert optimizer.regularity.order == measured.expected == 1
    assert abs(measured.pairwise[-1] - 1) < 0.02
    assert abs(measured.slope - 1) < 0.02 and measured.stderr < 0.01
    assert len(measured.h) == 8 and measured.window[1] == 7
    assert (measured.dtype, measured.solver, measured.reason) == ("float64", "Tsit5", "")

    # and docs/optimizers.md shows the order of the optimizer as its defaults make it
    optimizer = catalogue[name](0.001, **({"smoothing": 20.0} if name == "signum" else {}))
    small_memory = "slope of AdaGrad.* is 0.515 .* declared order is 1: a memory that starts near 0"
    with pytest.warns(match=small_memory) if name == "adagrad" else nullcontext():
        measured = analysis.order(optimizer, shaped_for(optimizer, booth))
    shown = re.search(rf"^\| `{type(optimizer).__name__}` .*\| ([\d.]+) \|$", TABLE, re.M)
    assert shown and f"{measured.pairwise[-1]:.2f}" == shown.group(1)
    assert len(measured.pairwise) == 7


def test_the_maximum_error_of_gradient_descent_on_rosenbrock_halves():
    """From (-1.2, 1) over t = 0.5."""
    measured = analysis.order(SGD(1e-3 / 2), problems.rosenbrock(), time=0.5, refinements=6)
    ratios = measured.error[:-1] / measured.error[1:]
    assert measured.pairwise[-1] == pytest.approx(1, abs=0.02)
    assert (np.diff(ratios) < 0).all() and ratios[-1] == pytest.approx(2, abs=0.03)


def test_warm_rmsprop_has_order_one_and_the_readme_says_so_of_the_corrected_one():
    assert abs(analysis.order(RMSprop(0.001, initial_scale=4.0), smooth).pairwise[-1] - 1) < 0.02
    corrected = analysis.order(warm["rmsprop"], booth)
    assert f"RMSprop has order {corrected.pairwise[-1]:.2f}." in SENTENCES


@pytest.mark.parametrize("eps", [1e-8, 1e-4])
def test_rmsprop_from_zero_has_order_one_half(eps):
    measured = analysis.order(RMSprop(0.01, eps=eps), smooth)
    assert measured.expected == 0.5
    assert (np.abs(measured.pairwise - 0.5) < 0.15).all()
    assert abs(measured.slope - 0.5) < 0.1


def test_rmsprop_as_its_defaults_make_it_never_shows_order_one():
    """An implementation that shows slope 1 here does not simulate optax's default start."""
    assert analysis.order(RMSprop(0.01), smooth).pairwise.max() < 0.6


@pytest.mark.parametrize(
    ("optimizer", "solves"), [(SGD(0.01), 2), (Modified(SGD(0.01)), 6)], ids=["sgd", "modified"]
)
def test_one_flow_serves_all_time_steps_unless_it_depends_on_them(optimizer, solves, monkeypatch):
    """Once at each of two tolerances; and it is, to the last bit, the flow that each time step would have had."""
    module, solved = sys.modules["dynopt.analysis.order"], []
    monkeypatch.setattr(
        module,
        "integrate",
        lambda optimizer, *a, **k: solved.append(optimizer) or integrate(optimizer, *a, **k),
    )
    shared = analysis.order(optimizer, smooth, refinements=3)
    assert len(solved) == solves
    monkeypatch.setattr(module, "flows_differ", lambda *_: True)
    np.testing.assert_array_equal(
        analysis.order(optimizer, smooth, refinements=3).error, shared.error
    )


def test_it_names_every_solver_of_its_flows(monkeypatch):
    names = iter(["Tsit5", "Tsit5", "Kvaerno5", "Kvaerno5", "Tsit5", "Tsit5"])

    def solve(*args, **options):
        run = integrate(*args, **options)
        return dataclasses.replace(run, stats=run.stats | {"solver": next(names)})

    monkeypatch.setattr(sys.modules["dynopt.analysis.order"], "integrate", solve)
    measured = analysis.order(Modified(SGD(0.01)), smooth, refinements=3)
    assert measured.solver == "Tsit5 and Kvaerno5"


def test_the_flow_is_held_fixed_and_the_times_are_common():
    measured = analysis.order(Momentum(1e-4), smooth, time=0.5, refinements=6)
    np.testing.assert_allclose(measured.h, 0.01 / 2.0 ** np.arange(6), rtol=1e-15)
    assert measured.time == pytest.approx(0.5)
    coarse = analysis.compare(Momentum(1e-4), smooth, 50)
    assert measured.error[0] == pytest.approx(float(coarse.largest), rel=1e-8)


def test_the_errors_over_time_are_those_of_the_closed_forms():
    """On a bowl the map is (1 - hλ)ᵏ and the flow exp(-λt)."""
    measured = analysis.order(SGD(0.01), bowl, refinements=3)
    t, curvature = 0.01 * np.arange(51)[:, None], np.array([1, 4])
    np.testing.assert_allclose(measured.t, t[:, 0], rtol=1e-14)
    for n, errors in zip((1, 2, 4), measured.errors, strict=True):
        map = (1 - 0.01 / n * curvature) ** (n * np.arange(51)[:, None])
        exact = np.linalg.norm(map - np.exp(-curvature * t), axis=1)
        np.testing.assert_allclose(errors, exact, atol=1e-10)
    np.testing.assert_array_equal(measured.error, measured.errors.max(1))
    np.testing.assert_array_equal(measured.start, bowl.x0)


@pytest.mark.parametrize(("step", "verdict"), [(10, "no fit"), (45, "agrees")])
def test_round_off_counts_until_the_error_is_largest(step, verdict, monkeypatch):
    """On a bowl with curvatures 1 and 4 it is largest near t = 0.25, which is step 25."""
    module = sys.modules["dynopt.analysis.order"]
    run_twice = module.iterate_twice

    def rounded(*args, **options):
        x, other = run_twice(*args, **options)
        return x, other.at[step].add(1.0)

    monkeypatch.setattr(module, "iterate_twice", rounded)
    with pytest.warns(match="no order") if verdict == "no fit" else nullcontext():
        measured = analysis.order(SGD(0.01), bowl, refinements=3)
    assert measured.verdict == verdict and (measured.floor > 0.9).all() == (step == 10)


def test_the_slope_is_that_of_the_line_through_all_points_of_the_window():
    measured = analysis.order(SGD(0.01), smooth, refinements=6)
    inside = slice(measured.window[0], measured.window[1] + 1)
    points = np.log(measured.h[inside]), np.log(measured.error[inside])
    (slope, _), covariance = np.polyfit(*points, 1, cov=True)
    assert measured.slope == pytest.approx(slope, rel=1e-10)
    assert measured.stderr == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-6)
    assert abs(measured.slope - measured.pairwise[-1]) > 1e-5


def test_the_last_time_counts():
    """On f = -|x|²/2 the error grows, so that the largest one is the last one."""
    hilltop = polynomial("hilltop", [1.0, 0.5])
    measured = analysis.order(SGD(0.01), hilltop, time=0.5, refinements=3)
    error = analysis.compare(SGD(0.01), hilltop, 50).error
    assert measured.error[0] == pytest.approx(float(error[-1]), rel=1e-8)
    assert error[-1] > 1.01 * error[-2]


def test_the_solvers_error_is_far_below_each_fitted_error():
    measured = analysis.order(Adam(0.01), smooth)
    first, last = measured.window
    assert (measured.error > 1000 * measured.solver_error)[
        first : last + 1
    ].all() and measured.solver_error > 0


class Inexact(SGD):
    """Its flow is declared to be known to a relative error of 1e-8, and so coarsely it is solved."""

    regularity = property(lambda self: Regularity(flow_error_ulps=1e-8 / np.finfo(float).eps))


def test_the_solvers_error_is_above_that_of_the_closed_form_by_at_most_a_hundred():
    """It is that of the solution at ten times the tolerance of the flow."""
    measured = analysis.order(Inexact(0.02), bowl, refinements=3)
    flow = integrate(Inexact(0.02), bowl, 50, rtol=1e-8)
    exact = [1, -1] * np.exp(-np.outer(flow.t, [1, 4]))
    true = np.linalg.norm(flow.x - exact, axis=1).max()
    assert true < measured.solver_error < 100 * true


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_floor_is_above_the_round_off_of_the_map_by_at_most_a_hundred(dtype):
    """On a bowl the map is (1 - hλ)ᵏ, here in extended precision."""
    problem = Problem(bowl.loss, np.array([1, -1], dtype), name="bowl")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # in float32 the errors are too near the floor
        measured = analysis.order(SGD(0.01), problem, refinements=3)
    for n, h, floor in zip((1, 2, 4), measured.h, measured.floor, strict=True):
        run = iterate(SGD(0.01).refine(n), problem, 50 * n, save_every=n)
        k = np.arange(0, 50 * n + 1, n)[:, None]
        exact = [1, -1] * (1 - np.longdouble(dtype(h)) * np.array([1, 4])) ** k
        true = np.linalg.norm(np.asarray(np.asarray(run.x) - exact, float), axis=1).max()
        assert true < floor < 100 * true


def test_a_loss_in_single_precision_has_no_order_below_its_round_off():
    coarse = Problem(Rounded(smooth.loss), smooth.x0, name="coarse")
    words = "only 0 of 4 errors are clear .* the loss rounds to 1e-07, so compute it in float64"
    with pytest.warns(UserWarning, match=words):
        measured = analysis.order(SGD(1e-7), coarse, refinements=4)
    assert (measured.verdict, measured.dtype) == ("no fit", "float64")
    assert analysis.order(SGD(0.01), coarse, refinements=4).verdict == "agrees"


def test_the_floor_in_float32_is_half_a_billion_times_that_in_float64():
    double = analysis.order(SGD(0.01), smooth, refinements=4)
    assert (double.floor > 0).all() and (double.floor < 1e-12).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two of the four errors are too near the floor
        coarse = analysis.order(SGD(0.01), single, refinements=4)
    assert (coarse.floor > 1e7 * double.floor).all()


def test_float32_warns_when_round_off_leaves_no_slope():
    with pytest.warns(UserWarning, match=r"no order of SGD.* on smooth is fitted: only \d of 8 errors are clear of .* in float32, .* too few; use float64") as caught:  # fmt: skip
        measured = analysis.order(SGD(1e-5), single)
    assert len(caught) == 1 and measured.window is None and np.isnan(measured.slope)
    assert measured.dtype == "float32" and measured.reason in str(caught[0].message)


def test_a_map_that_diverges_is_not_called_round_off():
    with pytest.warns(
        UserWarning,
        match=r"8 of 8 errors are not finite, so too few are left; use a smaller `learning_rate`",
    ):
        measured = analysis.order(SGD(1.0), problems.rosenbrock())
    assert measured.window is None and measured.reason.startswith("8 of 8 errors are not finite")


def test_float32_does_not_warn_where_the_error_is_large():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measured = analysis.order(SGD(0.04), single, refinements=4)
    assert measured.slope == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("finest, solver_error", [(1e-12, 1e-9), (1e-10, 1e-7)])
def test_a_flow_too_stiff_for_a_fine_solution_is_solved_more_loosely(
    finest, solver_error, monkeypatch
):
    module = sys.modules["dynopt.analysis.order"]
    solve, tolerances = module.integrate, []

    def limited(*args, rtol, **options):
        tolerances.append(rtol)
        if rtol < finest:
            raise SolverFailure("too stiff", partial=None, status=Status.max_steps, t_reached=0.0)
        return solve(*args, rtol=rtol, **options)

    monkeypatch.setattr(module, "integrate", limited)
    measured = analysis.order(SGD(0.02), shaped_for(SGD(0.02), smooth), refinements=4)
    assert measured.slope == pytest.approx(1, abs=0.05) and 0 < measured.solver_error < solver_error
    assert min(tolerances) < finest <= tolerances[-2] < tolerances[-1]


def test_slopes_that_still_change_warn():
    """At these rates the error on x⁸ shrinks faster than the time step."""
    steep = Problem(lambda x: (x**8).sum() / 8, [1.0], name="steep")
    with pytest.warns(
        UserWarning,
        match=r"slopes of SGD.* on steep still change, from 1\.\d+ to 1\.\d+, so its order has not",
    ):
        measured = analysis.order(SGD(0.2), steep, refinements=4)
    assert measured.window is not None and np.ptp(measured.pairwise[measured.window[0] :]) > 0.1


def test_the_window_reaches_back_while_slopes_are_steady():
    is_clear, slopes = np.ones(6, bool), np.array([2.0, 1.3, 1.01, 1.005, 1.0])
    assert find_window(is_clear, slopes) == (2, 5)
    assert find_window(np.array([1, 1, 1, 1, 0, 0], bool), slopes) == (1, 3)
    assert find_window(np.array([1, 1, 0, 1, 1, 0], bool), slopes) is None
    assert find_window(np.zeros(6, bool), slopes) is None


def test_the_line_is_least_squares():
    x, y = np.arange(5.0), np.array([0.1, 1.0, 2.2, 2.9, 4.0])
    (slope, _), covariance = np.polyfit(x, y, 1, cov="unscaled")
    residual = y - np.polyval(np.polyfit(x, y, 1), x)
    fitted = fit_line(x, y, slice(0, 5))
    np.testing.assert_allclose(
        fitted, (slope, np.sqrt(covariance[0, 0] * (residual @ residual) / 3)), rtol=1e-12
    )


def test_it_prints_the_slope_and_what_was_expected():
    text = repr(analysis.order(SGD(0.01), smooth, refinements=4))
    assert (
        text.startswith("Order(1.0")
        and "±" in text
        and "expected 1, SGD(learning_rate=0.01) on smooth)" in text
    )


# --- the verdict


@pytest.mark.parametrize(
    ("slope", "stderr", "fitted", "verdict"),
    [
        (0.74, 0.001, [0.70, 0.75], "differs"),
        (0.76, 0.001, [0.76, 0.76], "agrees"),
        (1.24, 0.001, [1.24, 1.24], "agrees"),
        (1.26, 0.001, [1.26, 1.26], "differs"),
        (1.26, 0.06, [1.26, 1.26], "agrees"),
        (1.18, 0.18, [1.20, 1.16], "agrees"),
        (1.18, 0.18, [1.36, 1.01], "still changes"),
        (-0.36, 0.03, [-0.40, -0.31], "differs"),
        (np.nan, np.nan, [], "no fit"),
    ],
)
def test_a_slope_agrees_within_a_quarter_or_five_standard_errors(slope, stderr, fitted, verdict):
    """Some numbers are those of honest optimizers on the problems of the catalogue."""
    assert judge(slope, stderr, np.array(fitted), 1.0) == verdict


@pytest.mark.parametrize(
    ("slope", "expected", "is_corrected", "words"),
    [
        (0.005, 1, False, "the vector field is not the limit of the map"),
        (
            -0.36,
            1,
            False,
            "unless a smaller `learning_rate` or a shorter `time` gives another slope",
        ),
        (0.02, 2, True, "the vector field is not the limit of the map"),
        (1.003, 2, True, "follows it to order 1 only"),
        (1.98, 3, True, "follows it to order 2 only"),
        (1.003, 2, False, "a memory that starts near 0, a corner in the map or noise"),
        (0.51, 1, False, "or start the memory from a larger value"),
        (1.99, 1, False, "nearer to its flow here than declared.* order=2 in its `regularity`"),
        (1.02, 0.5, False, "may declare order=1 in"),
    ],
)
def test_it_says_what_a_slope_means(slope, expected, is_corrected, words):
    assert re.search(words, explain(slope, float(expected), is_corrected))


class TwiceAsFast(SGD):
    def vector_field(self, t, y, grad):
        return jax.tree.map(lambda v: 2 * v, super().vector_field(t, y, grad))


class WronglyCorrected(SGD):
    """Its correction is (h/4) H g, half of that of gradient descent."""

    regularity = property(lambda self: Regularity(order=2, flow_depends_on_h=True))

    def vector_field(self, t, y, grad):
        g, Hg = jax.jvp(grad, (y.x,), (grad(y.x),))
        return y._replace(x=-g - self.h / 4 * Hg)


class Heun(SGD):
    """The explicit trapezoidal rule for gradient flow, a map of order 2."""

    regularity = property(lambda self: Regularity(order=2))

    def step(self, t, y, grad):
        ahead = grad(y.x - self.h * grad(y.x))
        return y._replace(x=y.x - self.h / 2 * (grad(y.x) + ahead))


class ModestHeun(Heun):
    regularity = property(lambda self: Regularity())


@pytest.mark.parametrize(
    ("optimizer", "slope", "words"),
    [
        (TwiceAsFast(0.01), 0, "declared order is 1: the vector field is not the limit of the map"),
        (WronglyCorrected(0.01), 1, "the declared order is 2: the correction .* to order 1 only"),
        (ModestHeun(0.01), 2, "nearer to its flow here than declared"),
    ],
    ids=["false flow", "false correction", "more than declared"],
)
def test_a_flow_that_is_not_that_of_the_map_is_called_so_once(optimizer, slope, words):
    with pytest.warns(UserWarning, match=f"the slope of .* on booth is .*{words}") as caught:
        measured = analysis.order(optimizer, booth, refinements=3)
    assert len(caught) == 1 and measured.verdict == "differs"
    assert measured.meaning in str(caught[0].message)
    assert measured.slope == pytest.approx(slope, abs=0.1)


@pytest.mark.parametrize(
    ("optimizer", "order"),
    [(Heun(0.02), 2), (Modified(Heun(0.02), 3), 3)],
    ids=["heun", "modified"],
)
def test_an_optimizer_of_order_two_agrees_with_its_declaration(optimizer, order):
    measured = analysis.order(optimizer, smooth, refinements=4)
    assert (measured.expected, measured.verdict, measured.meaning) == (order, "agrees", "")
    assert measured.slope == pytest.approx(order, abs=0.1)
    assert Modified(Heun(0.02)).regularity.order == 2


@pytest.mark.parametrize(("option", "words"), [({"refinements": 2}, "`refinements` must be a whole number from 3 to 20, got 2"), ({"time": -1.0}, "`time` is -1"), ({"time": 0}, "`time` is 0"), ({"time": 1e7}, "so the finest of 8 time steps would take")])  # fmt: skip
def test_wrong_options(option, words):
    with pytest.raises(InvalidValue, match=words):
        analysis.order(SGD(0.01), smooth, **option)


def test_what_is_no_optimizer_or_no_problem_is_refused(as_users_see_it):
    with pytest.raises(InvalidType, match="`optimizer` must be an optimizer of dynopt"):
        analysis.order(problems.booth(), SGD(0.1))  # pyright: ignore
    with pytest.raises(InvalidType, match="`problem` must be a dynopt.Problem"):
        analysis.order(SGD(0.1), lambda x: x.sum())  # pyright: ignore
