"""Schedule-free descent: map, start of the flow, Bessel's closed form, Polyak's average."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from losses import QUARTIC_START as start, quartic, quartic_gradient as numpy_grad
from reference_runs import run_map, solve_flow
from scipy.special import j1

from dynopt import ScheduleFree
from dynopt.errors import InvalidValue
from dynopt.optimizers.schedule_free import ScheduleFreeState

grad = jax.grad(quartic)


def test_map():
    x = z = start
    run = run_map(ScheduleFree(0.05, 0.8), grad, start, 30)
    for k in range(30):
        z = z - 0.05 * numpy_grad(0.8 * x + 0.2 * z)
        x = x + (z - x) / (k + 1)
        np.testing.assert_allclose(run.x[k + 1], x, rtol=1e-12)
        np.testing.assert_allclose(run.z[k + 1], z, rtol=1e-12)


def test_flow_and_its_start_with_half_the_velocity():
    optimizer, z, t = ScheduleFree(0.05, 0.8), np.array([0.3, -0.2]), 0.7
    dy = optimizer.vector_field(t, ScheduleFreeState(jnp.asarray(start), jnp.asarray(z)), grad)
    np.testing.assert_allclose(dy.z, -numpy_grad(0.8 * start + 0.2 * z), rtol=1e-14)
    np.testing.assert_allclose(dy.x, (z - start) / t, rtol=1e-14)
    first = optimizer.vector_field(0.0, optimizer.init(jnp.asarray(start), grad), grad)
    np.testing.assert_allclose(first.x, -numpy_grad(start) / 2, rtol=1e-14)
    t = 1e-7
    y = ScheduleFreeState(*(jnp.asarray(start) + t * d for d in first))
    np.testing.assert_allclose(optimizer.vector_field(t, y, grad).x, first.x, rtol=1e-6)


def test_with_the_gradient_at_the_mean_a_quadratic_gives_bessels_function():
    """x = x₀ J₁(2√(λt))/√(λt) for β = 1, here with λ = 2.5."""
    t = np.linspace(0, 10, 41)
    x = solve_flow(ScheduleFree(0.05, 1.0), lambda x: 2.5 * x, [1.5], t).x[1:, 0]
    w = np.sqrt(2.5 * t[1:])
    np.testing.assert_allclose(x, 1.5 * j1(2 * w) / w, atol=1e-8)


def test_with_the_gradient_at_the_fast_point_the_position_is_the_average_of_gradient_descent():
    run = run_map(ScheduleFree(0.05, 0.0), grad, start, 30)
    z, path = start, []
    for _ in range(30):
        z = z - 0.05 * numpy_grad(z)
        path.append(z)
    np.testing.assert_allclose(run.z[1:], path, rtol=1e-12)
    np.testing.assert_allclose(run.x[-1], np.mean(path, 0), rtol=1e-12)


def test_the_weight_of_the_mixture_lies_between_0_and_1():
    with pytest.raises(
        InvalidValue, match=r"`b1` is 1.5, which is outside \[0, 1\]; use a number such as 0.9"
    ):
        ScheduleFree(0.1, 1.5)
