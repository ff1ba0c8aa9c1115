"""Optimizers as equations and methods: Stepped, Leapfrog, SAM and ODE."""

from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from losses import quartic, quartic_gradient
from reference_runs import run_map, solve_flow
from scipy.optimize import brentq

import dynopt
from dynopt import (
    ODE,
    SAM,
    SGD,
    Adam,
    Leapfrog,
    Memoryless,
    Modified,
    Momentum,
    Optax,
    Problem,
    Schedule,
    Status,
    Stepped,
    analysis,
    iterate,
    problems,
)
from dynopt.analysis.critical_curvature import GRID, resolved_radii
from dynopt.errors import InvalidType, InvalidValue

parametrize = pytest.mark.parametrize
booth, rosenbrock = problems.booth(), problems.rosenbrock()
booth_gradient, rosenbrock_gradient = jax.grad(booth.loss), jax.grad(rosenbrock.loss)
start = jnp.array([-1.2, 1.0])


# --- the map is a step of the solver


def heun_by_hand(x, h):
    half = -quartic_gradient(x)
    return x + h / 2 * (half - quartic_gradient(x + h * half))


def midpoint_by_hand(x, h):
    return x - h * quartic_gradient(x - h / 2 * quartic_gradient(x))


@parametrize(
    "solver, by_hand", [(diffrax.Heun(), heun_by_hand), (diffrax.Midpoint(), midpoint_by_hand)]
)
def test_a_step_is_that_of_the_textbook(solver, by_hand):
    optimizer, x = Stepped(SGD(0.1), solver), np.array([1.1, -0.6])
    run = iterate(optimizer, Problem(quartic, x), 5)
    for k in range(5):
        x = by_hand(x, 0.1)
        np.testing.assert_allclose(run.x[k + 1], x, rtol=1e-14)


def test_a_step_is_that_of_diffrax():
    h, solver = 0.05, diffrax.Bosh3()
    optimizer = Stepped(Momentum(h**2), solver)
    y = optimizer.init(start, booth_gradient)

    @jax.jit
    def both(y):
        term = diffrax.ODETerm(lambda t, y, _: optimizer.vector_field(t, y, booth_gradient))
        begin = solver.init(term, 0.0, h, y, None)
        of_diffrax = solver.step(term, 0.0, h, y, None, begin, made_jump=False)[0]
        return optimizer.step(0.0, y, booth_gradient), of_diffrax

    for ours, theirs in zip(*both(y), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13)


def test_euler_of_the_gradient_flow_is_gradient_descent_and_the_solver_stays_as_it_was():
    solver = diffrax.Heun()
    Stepped(SGD(0.1), solver)
    assert solver.scan_kind is None
    np.testing.assert_array_equal(
        iterate(Stepped(SGD(0.01), diffrax.Euler()), booth, 20).x, iterate(SGD(0.01), booth, 20).x
    )


def test_a_step_takes_exactly_the_time_h_however_late_it_is():
    optimizer = Stepped(SGD(0.1), diffrax.Heun())
    y = optimizer.init(start, booth_gradient)
    step = jax.jit(lambda t: optimizer.step(t, y, booth_gradient).x)
    np.testing.assert_array_equal(step(0.0), step(1e9))


def test_the_schedule_is_read_at_the_times_of_the_stages():
    """Heun's method takes the mean of the rates at both ends of a step: 1 and 1/2."""
    optimizer = Stepped(Schedule(SGD(0.5), lambda k: jnp.exp2(-k)), diffrax.Heun())
    y = optimizer.step(0.0, optimizer.init(start, jnp.ones_like), jnp.ones_like)
    np.testing.assert_allclose(start - y.x, 0.5 * (1 + 0.5) / 2, rtol=1e-15)


# --- order


def measured_order(optimizer):
    """From the global errors at two refinements; each has its own flow if that depends on h."""
    errors = []
    for m in (4, 8):
        refined, n = optimizer.refine(m), m * round(0.4 / float(optimizer.h))
        end = solve_flow(refined, booth_gradient, start, [0.0, 0.4], tol=1e-13).x[-1]
        errors.append(np.linalg.norm(run_map(refined, booth_gradient, start, n).x[-1] - end))
    return np.log2(errors[0] / errors[1])


@parametrize(
    "optimizer, order",
    [
        (Stepped(SGD(0.01), diffrax.Euler()), 1),
        (Stepped(SGD(0.01), diffrax.Heun()), 2),
        (Stepped(SGD(0.01), diffrax.Bosh3()), 3),
        (Leapfrog(Momentum(0.0016)), 2),
        (SAM(SGD(0.005), 0.05), 1),
        (Modified(SAM(SGD(0.005), 0.05)), 2),
    ],
    ids=lambda value: value.name if isinstance(value, dynopt.AbstractOptimizer) else "",
)
def test_the_order_is_that_of_the_solver_and_leapfrog_has_two(optimizer, order):
    assert optimizer.regularity.order == order
    assert measured_order(optimizer) == pytest.approx(order, abs=0.05)


# --- stability


@parametrize(
    "optimizer, critical",
    [
        (Stepped(SGD(0.01), diffrax.Euler()), 2 / 0.01),
        (Stepped(SGD(0.01), diffrax.Heun()), 2 / 0.01),
        (Stepped(SGD(0.01), diffrax.Bosh3()), 2.5127453266183286 / 0.01),
        (Leapfrog(Momentum(0.01)), 4 / 0.01),
        (SAM(SGD(0.1), 0.05), 2 / 0.1),
        (SAM(SGD(0.1), 0.05, normalize=False), (np.sqrt(1 + 4 * 0.05 * 20) - 1) / (2 * 0.05)),
    ],
    ids=lambda value: repr(value) if isinstance(value, dynopt.AbstractOptimizer) else "",
)
def test_the_critical_curvature_is_that_of_the_stability_function(optimizer, critical):
    """2.5127... is the real root of 1 - z + z²/2 - z³/6 = -1."""
    assert analysis.critical_curvature(optimizer) == pytest.approx(critical, rel=1e-9)


def test_heun_of_the_heavy_ball_is_less_stable_than_the_heavy_ball():
    """|1 + z + z²/2| = 1 for the roots of z² + 0.1 z + h²λ = 0; the map itself bears 3.8."""

    def excess(s):
        z = np.roots([1, 0.1, s])
        return abs(1 + z + z**2 / 2).max() - 1

    critical = brentq(excess, 0.1, 3.0, xtol=1e-14)
    assert critical == pytest.approx(0.7245, abs=1e-4)
    optimizer = Stepped(Momentum(0.01, momentum=0.9), diffrax.Heun())
    assert analysis.critical_curvature(optimizer) * 0.01 == pytest.approx(critical, rel=1e-9)


def test_the_proximal_point_method_has_no_critical_curvature():
    assert analysis.critical_curvature(Stepped(SGD(0.01), diffrax.ImplicitEuler())) == np.inf


def test_no_curvature_is_critical_where_round_off_hides_what_an_implicit_map_does():
    """The radius of Kvaerno's method, computed at 1e26, exceeds 1, and beyond it may be NaN."""
    radius = 1 / (1 + 0.01 * GRID)
    radius[-50:-30], radius[-30:] = 2.0, np.nan
    resolved = resolved_radii(radius)
    assert resolved.max() <= 1 and 1e9 < GRID[len(resolved)] < 1e15
    unchanged = np.where(GRID > 1e20, np.nan, 1.0)
    np.testing.assert_array_equal(resolved_radii(unchanged), unchanged)


# --- implicit methods


def test_the_proximal_point_method_multiplies_by_the_inverse_of_1_plus_h_times_the_hessian():
    bowl = problems.quadratic(eigenvalues=[1.0, 100.0], rotation=0.3)
    run = iterate(Stepped(SGD(0.5), diffrax.ImplicitEuler()), bowl, 5)
    gradient = jax.grad(bowl.loss)
    hessian = np.array(jax.jacfwd(gradient)(run.x[0]))
    offset = np.linalg.solve(hessian, gradient(run.x[0]))
    assert np.linalg.eigvalsh(0.5 * hessian)[-1] == pytest.approx(50)
    for k, x in enumerate(run.x):
        power = np.linalg.matrix_power(np.eye(2) + 0.5 * hessian, k)
        expected = run.x[0] - offset + np.linalg.solve(power, offset)
        np.testing.assert_allclose(x, expected, atol=1e-12)


def test_the_proximal_point_of_rosenbrock_is_stationary_where_gradient_descent_diverges():
    h = 1.0
    x = iterate(Stepped(SGD(h), diffrax.ImplicitEuler()), rosenbrock, 8).x
    residual = x[1:] - x[:-1] + h * jax.vmap(rosenbrock_gradient)(x[1:])
    assert jnp.abs(residual).max() < 1e-10
    assert rosenbrock.loss(x[8]) < 1e-2 < rosenbrock.loss(x[0])
    assert iterate(SGD(h), rosenbrock, 8, throw=False).status == Status.diverged


IMPLICIT = diffrax.ImplicitEuler()
GIVES_UP = diffrax.ImplicitEuler(diffrax.VeryChord(1e-12, 1e-12))  # at a third iteration
uphill = Problem(lambda x: -jnp.exp(x[0]), [0.0])


@parametrize(
    "h, solver, status",
    [
        (0.3, IMPLICIT, Status.ok),
        (0.5, IMPLICIT, Status.nonfinite),
        (0.3, GIVES_UP, Status.nonfinite),
    ],
)
def test_a_step_that_is_not_solved_ends_the_run_as_not_finite(h, solver, status):
    """z = h e^z has a solution for h < 1/e = 0.37 only."""
    run = iterate(Stepped(SGD(h), solver), uphill, 1, throw=False)
    assert run.status == status and bool(jnp.isfinite(run.x).all()) == (status == Status.ok)
    if status == Status.ok:
        assert run.x[1, 0] == pytest.approx(h * np.exp(run.x[1, 0]), rel=1e-12)


# --- modified equations


def test_the_modified_equation_of_heun_is_its_b_series():
    """Hairer, Lubich, Wanner, chapter IX: f″(f, f)/12 - f′f′f/6, and no term of order h."""
    h = 1e-3
    optimizer = Stepped(SGD(h), diffrax.Heun())
    y = optimizer.init(start, rosenbrock_gradient)

    def terms(x):
        def f(x):
            return -rosenbrock_gradient(x)

        def along(x, direction):
            return jax.jvp(f, (x,), (direction,))[1]

        f0 = f(x)
        bend = jax.jvp(lambda x: along(x, f0), (x,), (f0,))[1]
        return f0, along(x, f0), along(x, along(x, f0)), bend

    f0, f1f, f1f1f, f2ff = jax.jit(terms)(start)

    def derived(optimizer, order):
        modified = Modified(optimizer, order=order)
        assert modified.regularity.order == order
        return jax.jit(lambda y: modified.vector_field(0.0, y, rosenbrock_gradient).x)(y)

    expected = f2ff / 12 - f1f1f / 6
    np.testing.assert_allclose((derived(optimizer, 3) - f0) / h**2, expected, rtol=1e-12)
    proximal = derived(Stepped(SGD(h), diffrax.ImplicitEuler()), 2) - f0
    np.testing.assert_allclose(proximal / h, f1f / 2, rtol=1e-9)


def test_the_field_of_a_game_is_stepped_like_a_gradient():
    """The mode turns, λ = ±i, and |1 - z + z²/2|² = 1 + h⁴/4 at z = ih."""
    game = dynopt.Game.zero_sum(lambda z: z["min"] * z["max"], {"min": 1.0, "max": 0.5})
    norms = iterate(Stepped(SGD(0.3), diffrax.Heun()), game, 4).grad_norm
    np.testing.assert_allclose(norms[1:] / norms[:-1], np.sqrt(1 + 0.3**4 / 4), rtol=1e-13)


# --- transformations of JAX


@parametrize("solver", [diffrax.Heun(), diffrax.ImplicitEuler()], ids=["Heun", "ImplicitEuler"])
def test_the_derivative_by_the_learning_rate_is_the_difference_quotient_in_both_modes(solver):
    def loss_after_step(rate):
        optimizer = Stepped(SGD(rate), solver)
        y = optimizer.init(start, rosenbrock_gradient)
        return rosenbrock.loss(optimizer.step(0.0, y, rosenbrock_gradient).x)

    @jax.jit
    def all_three(rate):
        losses = jax.vmap(loss_after_step)(rate + jnp.array([-1e-6, 1e-6]))
        forward = jax.jvp(loss_after_step, (rate,), (1.0,))[1]
        return (losses[1] - losses[0]) / 2e-6, forward, jax.grad(loss_after_step)(rate)

    quotient, forward, reverse = map(float, all_three(1e-3))
    assert forward == pytest.approx(quotient, rel=1e-6)
    assert reverse == pytest.approx(forward, rel=1e-12)


def test_a_sweep_runs_implicit_maps_with_other_learning_rates():
    def proximal(rate):
        return Stepped(SGD(rate), diffrax.ImplicitEuler())

    minimizer, hessian = np.array([1.0, 3.0]), np.array([[10.0, 8.0], [8.0, 10.0]])  # of booth
    sweep = dynopt.sweep(dynopt.grid(proximal, rate=[0.01, 0.03]), booth, 8, x0=start)
    for i, rate in enumerate((0.01, 0.03)):
        power = np.linalg.matrix_power(np.eye(2) + rate * hessian, 8)
        expected = minimizer + np.linalg.solve(power, start - minimizer)
        np.testing.assert_allclose(sweep.x[i], expected, rtol=1e-12)


def test_the_dtype_is_that_of_the_start():
    x0 = jnp.array([3.0, -2.0], jnp.float32)
    run = iterate(Stepped(SGD(0.1), diffrax.ImplicitEuler()), booth, 3, x0=x0)
    assert run.x.dtype == jnp.float32 and run.status == Status.ok


# --- leapfrog


def test_a_step_of_leapfrog_is_a_kick_a_drift_and_a_kick_with_exact_friction():
    optimizer, h = Leapfrog(Momentum(0.04, momentum=0.9)), 0.2
    damping = np.exp(-((1 - 0.9) / h) * h / 2)
    run = iterate(optimizer, Problem(quartic, [1.1, -0.6]), 4)
    x, p = np.array([1.1, -0.6]), np.zeros(2)
    for k in range(4):
        p = damping * p - h / 2 * quartic_gradient(x)
        x = x + h * p
        p = damping * (p - h / 2 * quartic_gradient(x))
        np.testing.assert_allclose(run.x[k + 1], x, rtol=1e-13)
        np.testing.assert_allclose(run.y.p[k + 1], p, rtol=1e-13)


# --- sharpness-aware minimisation


@parametrize("normalize", [True, False])
def test_sam_asks_for_the_gradient_uphill(normalize):
    x, rho = np.array([1.1, -0.6]), 0.05
    g = quartic_gradient(x)
    uphill = x + rho * (g / np.linalg.norm(g) if normalize else g)
    run = iterate(SAM(SGD(0.1), rho, normalize=normalize), Problem(quartic, x), 1)
    np.testing.assert_allclose(run.x[1], x - 0.1 * quartic_gradient(uphill), rtol=1e-14)


def test_the_flow_of_sam_descends_the_loss_plus_rho_times_the_norm_of_the_gradient():
    """The difference is O(ρ²): it is four times smaller at half the ρ."""

    def penalised(x, rho):
        return rosenbrock.loss(x) + rho * jnp.linalg.norm(rosenbrock_gradient(x))

    @jax.jit
    def difference(rho):
        optimizer = SAM(SGD(0.02), rho)
        y = optimizer.init(start, rosenbrock_gradient)
        field = optimizer.vector_field(0.0, y, rosenbrock_gradient).x
        return jnp.abs(field + jax.grad(penalised)(start, rho)).max()

    d = [float(difference(rho)) for rho in (0.1, 0.05, 0.025)]
    assert d[0] / d[1] == pytest.approx(4, abs=0.1) and d[1] / d[2] == pytest.approx(4, abs=0.1)


def test_sam_stays_at_a_point_without_a_slope_and_its_derivative_is_finite_there():
    optimizer = SAM(SGD(0.1), 0.05)

    def step(x):
        return optimizer.step(0.0, optimizer.init(x, booth_gradient), booth_gradient).x

    @jax.jit
    def value_and_derivatives(x):
        return step(x), jax.jacfwd(step)(x), jax.jacrev(step)(x)

    minimizer = jnp.array([1.0, 3.0])
    value, forward, reverse = value_and_derivatives(minimizer)
    np.testing.assert_array_equal(value, minimizer)
    hessian = np.array([[10.0, 8.0], [8.0, 10.0]])  # of booth; the direction counts as constant
    np.testing.assert_allclose(forward, np.eye(2) - 0.1 * hessian, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(reverse, forward, rtol=1e-12, atol=1e-15)


# --- an equation of one's own


class Ball(NamedTuple):
    x: jax.Array
    p: jax.Array


def rolling(t, y, grad):
    return Ball(y.p, -grad(y.x) - 0.5 * y.p)


def at_rest(x, grad):
    return Ball(x, jnp.zeros_like(x))


def test_the_map_of_an_equation_is_that_of_euler_and_stepped_it_is_that_of_the_solver():
    ode, ball = ODE(rolling, at_rest, 0.1), Momentum(0.01, momentum=0.95)
    problem = Problem(quartic, [1.1, -0.6])
    np.testing.assert_array_equal(
        iterate(Stepped(ode, diffrax.Euler()), problem, 5).x, iterate(ode, problem, 5).x
    )
    x, p = np.array([1.1, -0.6]), np.zeros(2)
    for _ in range(5):
        x, p = x + 0.1 * p, p - 0.1 * (quartic_gradient(x) + 0.5 * p)
    np.testing.assert_allclose(iterate(ode, problem, 5).x[5], x, rtol=1e-13)
    np.testing.assert_allclose(  # the same equation is that of the heavy ball with a = 0.05/0.1
        iterate(Stepped(ode, diffrax.Heun()), problem, 5).x,
        iterate(Stepped(ball, diffrax.Heun()), problem, 5).x,
        rtol=1e-12,
    )
    assert repr(ode) == "ODE(rolling, at_rest, h=0.1)"
    assert ode.with_time_step(0.2).hyperparameters()["h"] == 0.2


# --- what they say of themselves


@parametrize(
    "optimizer, evaluations",
    [
        (Stepped(SGD(0.1), diffrax.Bosh3()), 3),
        (Stepped(SAM(SGD(0.1), 0.1), diffrax.Heun()), 4),
        (Stepped(Leapfrog(Momentum(0.1)), diffrax.Heun()), 2),
        (Leapfrog(Momentum(0.1)), 2),
    ],
    ids=repr,
)
def test_evaluations_counts_the_gradients_of_a_step(optimizer, evaluations):
    count = []

    def gradient(x):
        jax.debug.callback(lambda: count.append(1))
        return booth_gradient(x)

    y = optimizer.init(start, booth_gradient)
    jax.block_until_ready(jax.jit(lambda y: optimizer.step(0.0, y, gradient))(y))
    jax.effects_barrier()
    assert len(count) == optimizer.evaluations == evaluations


def test_the_iterations_of_an_implicit_method_are_counted_as_on_a_quadratic_loss():
    assert Stepped(SGD(0.1), diffrax.ImplicitEuler()).evaluations == 3
    assert Stepped(SGD(0.1), diffrax.Kvaerno3()).evaluations == 1 + 3 * 2


def test_names_representations_and_regularity():
    heun = Stepped(Adam(0.1), diffrax.Heun())
    assert (repr(Stepped(SGD(0.1), diffrax.Heun())), heun.name) == (
        "Stepped(SGD(learning_rate=0.1), Heun())",
        "Heun(Adam)",
    )
    assert heun.regularity.order == 2
    assert Stepped(Adam(0.1), diffrax.Bosh3()).regularity.order == 2
    assert repr(SAM(SGD(0.1), 0.05)) == "SAM(SGD(learning_rate=0.1), rho=0.05, normalize=True)"


# --- refusals; each remedy is tried


@parametrize(
    "solver, sentence",
    [
        (diffrax.LeapfrogMidpoint(), "carries a state from step to step.*diffrax.Midpoint"),
        (diffrax.ReversibleHeun(), "carries a state from step to step.*diffrax.Midpoint"),
        (diffrax.ShARK(), "noise or for an equation in several parts.*diffrax.Heun"),
        (diffrax.KenCarp3(), "noise or for an equation in several parts.*diffrax.Heun"),
        (diffrax.SemiImplicitEuler(), "noise or for an equation in several parts.*diffrax.Heun"),
        (diffrax.HalfSolver(diffrax.Heun()), "estimates the error.*pass diffrax.Heun"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_solver_that_is_no_map_is_refused(solver, sentence):
    with pytest.raises(InvalidValue, match=sentence):
        Stepped(SGD(0.1), solver)


class NoOrder(diffrax.Euler):
    def order(self, terms):
        return None


@pytest.mark.usefixtures("as_users_see_it")
@parametrize(
    "kind, sentence, make",
    [
        (InvalidType, "must be a solver of diffrax", lambda: Stepped(SGD(0.1), diffrax.Heun)),
        (InvalidType, "must be an optimizer", lambda: Stepped(diffrax.Heun(), diffrax.Heun())),
        (InvalidValue, "does not say its order", lambda: Stepped(SGD(0.1), NoOrder())),
        (
            InvalidValue,
            r"is stepped already.*pass SGD\(learning_rate=0.1\)",
            lambda: Stepped(Stepped(SGD(0.1), diffrax.Heun()), diffrax.Heun()),
        ),
        (
            InvalidValue,
            "adam has no flow: .* wrap the optimizer in dynopt.Memoryless",
            lambda: Stepped(Optax(optax.adam, 0.01), diffrax.Heun()),
        ),
        (
            InvalidValue,
            "is derived already; pass its optimizer Momentum",
            lambda: Memoryless(Leapfrog(Momentum(0.1))),
        ),
        (InvalidType, r"heavy ball.*dynopt.Momentum", lambda: Leapfrog(SGD(0.1))),
        (InvalidValue, "`rho` is -1", lambda: SAM(SGD(0.1), -1.0)),
        (InvalidType, "`normalize` must be True or False", lambda: SAM(SGD(0.1), 0.1, 1)),
        (
            InvalidType,
            r"`vector_field` must be a function of \(t, y, grad\)",
            lambda: ODE(at_rest, at_rest, 0.1),
        ),
        (InvalidType, r"`init` must be a function of \(x, grad\)", lambda: ODE(rolling, None, 0.1)),
        (InvalidValue, "`h` is 0", lambda: ODE(rolling, at_rest, 0.0)),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(kind, sentence, make):
    with pytest.raises(kind, match=sentence):
        make()
