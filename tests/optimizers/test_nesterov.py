"""Nesterov's methods: maps as in textbooks, equations, Bessel's closed form, convergence rates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from losses import QUARTIC_START as start, quartic as f, quartic_gradient as numpy_grad
from reference_runs import run_map, solve_flow
from scipy.special import j1

from dynopt import Modified, Momentum, Nesterov, NesterovConvex, analysis
from dynopt.optimizers.nesterov import NesterovState
from dynopt.optimizers.nesterov_convex import NesterovConvexState

grad = jax.grad(f)


def identity(x):
    return x  # the gradient of x²/2


def textbook(eta, momenta, steps):
    """xₖ₊₁ = yₖ - η ∇f(yₖ),  yₖ₊₁ = xₖ₊₁ + μₖ₊₁ (xₖ₊₁ - xₖ): both sequences."""
    x, y, xs, ys = start, start, [start], [start]
    for k in range(steps):
        previous_x, x = x, y - eta * numpy_grad(y)
        y = x + momenta(k + 1) * (x - previous_x)
        xs.append(x)
        ys.append(y)
    return np.array(xs), np.array(ys)


def test_nesterov_map_is_the_look_ahead_sequence():
    xs, ys = textbook(0.01, lambda k: 0.8, 30)
    run = run_map(Nesterov(0.01, 0.8), grad, start, 30)
    np.testing.assert_allclose(run.x, ys, rtol=1e-12)
    np.testing.assert_allclose(run.x - 0.1 * 0.8 * run.p, xs, rtol=1e-12)


def test_convex_map_has_the_momentum_k_over_k_plus_three():
    xs, ys = textbook(0.01, lambda k: (k - 1) / (k + 2), 30)
    run = run_map(NesterovConvex(0.01), grad, start, 30)
    np.testing.assert_allclose(run.x, ys, rtol=1e-12)
    k = np.arange(31)[:, None]
    np.testing.assert_allclose(run.x - 0.1 * (k - 1) / (k + 2) * run.p, xs, rtol=1e-12)


def test_nesterov_flow_is_that_of_the_heavy_ball():
    y = NesterovState(jnp.asarray(start), jnp.array([0.3, -0.2]))
    nesterov, heavy_ball = (
        kind(0.01, 0.8).vector_field(0.0, y, grad) for kind in (Nesterov, Momentum)
    )
    np.testing.assert_array_equal(np.stack(nesterov), np.stack(heavy_ball))


def test_convex_flow_is_damped_by_three_over_t_and_starts_with_a_quarter_of_the_gradient():
    optimizer, p = NesterovConvex(0.01), np.array([0.3, -0.2])
    dy = optimizer.vector_field(0.7, NesterovConvexState(jnp.asarray(start), jnp.asarray(p)), grad)
    np.testing.assert_allclose(dy.p, -3 / 0.7 * p - numpy_grad(start), rtol=1e-14)
    np.testing.assert_allclose(dy.x, p)
    first = optimizer.vector_field(0.0, optimizer.init(jnp.asarray(start), grad), grad)
    np.testing.assert_allclose(first.p, -numpy_grad(start) / 4, rtol=1e-15)
    later = optimizer.vector_field(
        1e-6, NesterovConvexState(jnp.asarray(start), first.p * 1e-6), grad
    )
    np.testing.assert_allclose(later.p, first.p, rtol=1e-12)


def test_the_convex_flow_on_a_quadratic_is_bessels_function():
    """x = 2 x₀ J₁(√λ t)/(√λ t), here with λ = 2.5."""
    t = np.linspace(0, 10, 41)
    run = solve_flow(NesterovConvex(0.01), lambda x: 2.5 * x, [1.5], t)
    w = np.sqrt(2.5) * t[1:]
    np.testing.assert_allclose(run.x[1:, 0], 1.5 * 2 * j1(w) / w, atol=1e-8)


def test_the_error_of_the_convex_map_against_bessels_function_is_proportional_to_h():
    errors = []
    for h in (0.04, 0.02, 0.01):
        t = h * np.arange(1, round(10 / h) + 1)
        errors.append(
            np.abs(
                run_map(NesterovConvex(h**2), identity, [1.0], len(t)).x[1:, 0] - 2 * j1(t) / t
            ).max()
        )
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 1, atol=0.05)


def test_on_a_convex_loss_flow_and_map_are_below_two_squared_distances_over_t_squared():
    """f is the log cosh of two coordinates, with curvatures of at most 1.

    For the map at η = 1 the points are xₖ - h μₖ pₖ, with h (k+1) for t.
    """
    scale = np.array([1.0, 0.1])

    def loss(x):
        return np.log(np.cosh(np.asarray(x) * scale)).sum(-1)

    def grad(x):
        return jnp.asarray(scale) * jnp.tanh(x * jnp.asarray(scale))

    x0 = np.array([3.0, -4.0])
    t = np.linspace(0.1, 40, 100)
    flow = solve_flow(NesterovConvex(1.0), grad, x0, t)
    assert (t**2 * loss(flow.x) <= 2 * (x0**2).sum()).all()
    lyapunov = t**2 * loss(flow.x) + 2 * ((flow.x + t[:, None] / 2 * flow.p) ** 2).sum(-1)
    assert (np.diff(lyapunov) < 1e-9).all()

    y, k = run_map(NesterovConvex(1.0), grad, x0, 100), np.arange(101)
    other_sequence = y.x - ((k - 1) / (k + 2))[:, None] * y.p
    assert ((k[1:] + 1) ** 2 * loss(other_sequence[1:]) <= 2 * (x0**2).sum()).all()


def test_friction_drains_the_energy_of_the_convex_method_at_three_over_t():
    optimizer, t = NesterovConvex(0.01), 0.7
    y = NesterovConvexState(jnp.asarray(start), jnp.array([0.3, -0.2]))
    rate = jax.jvp(
        lambda t, y: optimizer.lyapunov(t, y, f), (t, y), (1.0, optimizer.vector_field(t, y, grad))
    )[1]
    np.testing.assert_allclose(rate, -3 / t * np.sum(np.asarray(y.p) ** 2), rtol=1e-13)


def test_the_loss_of_the_convex_flow_oscillates_up_to_four_over_pi_t_cubed():
    """limsup t³ f = 4x₀²/(π √λ) for f = λx²/2, within one per cent by t = 400."""
    t = np.concatenate([[0.0], np.arange(300, 400, 0.05)])
    x = np.asarray(solve_flow(NesterovConvex(0.01), identity, [1.0], t).x[1:, 0])
    assert (t[1:] ** 3 * x**2 / 2).max() == pytest.approx(4 / np.pi, rel=0.01)


def test_strongly_convex_momentum_has_the_friction_two_roots_of_the_curvature():
    optimizer = Nesterov.strongly_convex(0.04, 2.0)
    root = np.sqrt(2.0) * 0.2
    assert optimizer.friction == pytest.approx(2 * np.sqrt(2.0) / (1 + root), rel=1e-12)
    assert optimizer.momentum == pytest.approx((1 - root) / (1 + root), rel=1e-12)


def test_at_one_over_the_largest_curvature_it_contracts_by_one_minus_one_over_the_root_of_kappa():
    """κ = 100: errors contract by at most 0.9 per step, and by 0.9 at the smallest curvature."""
    optimizer = Nesterov.strongly_convex(1 / 100, 1.0)
    radii = [
        float(analysis.spectral_radius(optimizer, curvature))
        for curvature in (1.0, 3.0, 30.0, 100.0)
    ]
    assert radii[0] == pytest.approx(0.9, abs=1e-6)
    assert max(radii) == pytest.approx(0.9, abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "limit"), [(Nesterov, (2 + 2 * 0.8) / (1 + 2 * 0.8)), (Momentum, 2 + 2 * 0.8)]
)
def test_looking_ahead_lowers_the_critical_curvature(kind, limit):
    """(2+2μ)/((1+2μ)η), against (2+2μ)/η of the heavy ball."""
    assert float(analysis.critical_curvature(kind(0.01, 0.8))) * 0.01 == pytest.approx(
        limit, rel=1e-9
    )


@pytest.mark.parametrize(("kind", "factor"), [(Nesterov, 1.0), (Momentum, 0.0)])
def test_the_curvature_is_a_friction_in_the_modified_flow_of_nesterov(kind, factor):
    """(1+μ)/2 x″ + (1-μ)/h x′ + μh ∇²f x′ + ∇f = O(h²) from x′(0) = -h (½ + μ) ∇f.

    The modified flow of the heavy ball has no term with ∇²f.
    """
    h = np.array([0.02, 0.01, 0.005])
    mu = 1 - 1.5 * h

    @jax.jit
    @jax.vmap
    def residuals(h, mu):
        optimizer = Modified(kind(h**2, mu))
        y = type(optimizer.init(start, grad))(jnp.asarray(start), jnp.array([0.3, -0.2]))
        velocity = optimizer.vector_field(0.0, y, grad)
        _, x2 = jax.jvp(lambda y: optimizer.vector_field(0.0, y, grad).x, (y,), (velocity,))
        hessian_x1 = jax.jvp(grad, (y.x,), (velocity.x,))[1]
        curvature = factor * mu * h * hessian_x1
        equation = (1 + mu) / 2 * x2 + (1 - mu) / h * velocity.x + curvature + grad(y.x)
        x1_at_start = optimizer.vector_field(0.0, y._replace(p=jnp.zeros(2)), grad).x
        return equation, x1_at_start + h * (0.5 + factor * mu) * grad(y.x)

    for residual in residuals(h, mu):
        errors = np.linalg.norm(residual, axis=1)
        assert (errors < 1e-15).all() or (np.log2(errors[:-1] / errors[1:]) > 1.9).all()
