"""One step of an optimizer is the sum of what its memory and what the gradient contribute."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dynopt import (
    SGD,
    Adam,
    AdamW,
    Momentum,
    Nesterov,
    Optax,
    Problem,
    RMSprop,
    Signum,
    analysis,
    iterate,
    problems,
)
from dynopt.errors import InvalidValue

booth = problems.booth()


@pytest.mark.parametrize(
    "optimizer", [SGD(0.01), Momentum(0.01), Nesterov(0.01), RMSprop(0.1), Adam(0.1)], ids=repr
)
def test_the_parts_of_a_step_add_up_to_it(optimizer):
    parts = analysis.inside(optimizer, booth, first=3, steps=4)
    x = np.asarray(iterate(optimizer, booth, 7).x)
    np.testing.assert_allclose(parts.step, np.diff(x, axis=0)[3:], atol=1e-14)
    np.testing.assert_array_equal(parts.x, x[3:7])
    np.testing.assert_allclose(
        parts.downhill, [-jax.grad(booth.loss)(p) for p in x[3:7]], rtol=1e-12
    )
    assert parts.k.tolist() == [3, 4, 5, 6]


def test_the_memory_of_gradient_descent_and_rmsprop_moves_nothing():
    for optimizer in (SGD(0.01), RMSprop(0.1)):
        assert not analysis.inside(optimizer, booth, first=3).memory.any()
    assert analysis.inside(SGD(0.01), booth).turn == pytest.approx(np.zeros(3), abs=1e-5)


def test_heavy_ball_moves_on_by_mu_times_its_last_step():
    before, now = (analysis.inside(Momentum(0.01, 0.8), booth, first=k, steps=1) for k in (4, 5))
    np.testing.assert_allclose(now.memory, 0.8 * before.step, rtol=1e-12)
    np.testing.assert_allclose(now.gradient, 0.01 * now.downhill, rtol=1e-12)


def test_the_angle_is_that_to_minus_the_gradient():
    parts = analysis.inside(
        Signum(0.1, 0.0), Problem(lambda x: x[0], [0.0, 0.0], name="slide"), steps=1
    )
    assert parts.turn[0] == pytest.approx(0.0, abs=1e-5)
    plane = Problem(lambda x: x[0] + 1e-9 * x[1], [0.0, 0.0], name="plane")
    assert analysis.inside(Signum(0.1, 0.0), plane, steps=1).turn[0] == pytest.approx(45.0)


def test_a_step_of_gradient_descent_points_along_minus_the_gradient_to_the_last_digits():
    """arccos(u · v) would be off by the root of an ulp, 1e-6 degrees."""
    parts = analysis.inside(SGD(0.01), problems.booth(), first=2)
    assert parts.turn.max() < 1e-10


def test_steps_are_counted_from_zero(as_users_see_it):
    with pytest.raises(InvalidValue, match="`steps` must be a whole number of at least 1"):
        analysis.inside(SGD(0.01), booth, steps=0)
    assert (
        repr(analysis.inside(SGD(0.01), booth))
        == "Inside(SGD(learning_rate=0.01) on booth, steps 0 to 2)"
    )


def test_weight_decay_needs_no_gradient_and_is_counted_with_the_memory():
    parts = analysis.inside(AdamW(0.1, weight_decay=0.1), booth, steps=1)
    np.testing.assert_allclose(parts.memory[0], -0.1 * 0.1 * booth.x0, rtol=1e-12)


def test_a_step_that_is_not_finite_without_its_gradient_cannot_be_split():
    optimizer = Optax(lambda h: optax.stateless(lambda g, x: -h * g / jnp.linalg.norm(g)), 0.1)
    with pytest.raises(
        InvalidValue,
        match=r"without a gradient step 2 of Optax\(.*cannot be split; pass a later",
    ):
        analysis.inside(optimizer, booth, first=2)


himmelblau = problems.himmelblau()
PARTED = [
    Adam(0.25),
    Adam(0.1, 0.5, 0.9, eps=0.3, eps_root=0.2),
    RMSprop(0.05),
    RMSprop(0.05, 0.8, eps=0.1, initial_scale=2.0),
    RMSprop(0.05, bias_correction=True),
]


@pytest.mark.parametrize("optimizer", PARTED, ids=repr)
def test_the_step_is_the_weighted_mean_of_all_gradients_over_their_weighted_size(optimizer):
    """Closed forms in numpy, without the state of the optimizer."""
    last = analysis.inside(optimizer, himmelblau, first=5, steps=2).last
    x, y = np.asarray(last.map.x).T
    g = np.stack(
        [4 * x * (x**2 + y - 11) + 2 * (x + y**2 - 7), 2 * (x**2 + y - 11) + 4 * y * (x + y**2 - 7)]
    ).T[:-1]
    np.testing.assert_allclose(last.gradients, g, rtol=1e-12)
    options, powers = optimizer.hyperparameters(), np.arange(len(g) - 1, -1, -1)
    if isinstance(optimizer, Adam):
        b1, b2 = options["b1"], options["b2"]
        weights = (1 - b1) * b1**powers / (1 - b1 ** len(g))
        squares = (1 - b2) * b2**powers / (1 - b2 ** len(g))
        spread = np.sqrt(squares @ g**2 + options["eps_root"]) + options["eps"]
    else:
        weights, rho = np.array([0, 0, 0, 0, 0, 0, 1]), options["decay"]
        squares = (1 - rho) * rho**powers / ((1 - rho ** len(g)) ** options["bias_correction"])
        start = options["initial_scale"] * rho ** len(g)
        spread = np.sqrt(squares @ g**2 + start + options["eps"])
    np.testing.assert_allclose(last.weights, weights, atol=1e-14)
    np.testing.assert_allclose(last.square_weights, squares, rtol=1e-11)
    np.testing.assert_allclose(last.mean, weights @ g, rtol=1e-9)
    np.testing.assert_allclose(last.spread, spread, rtol=1e-9)
    step = np.array([np.diff(x)[-1], np.diff(y)[-1]])
    np.testing.assert_allclose(-options["learning_rate"] * weights @ g / spread, step, rtol=1e-6)
    np.testing.assert_allclose(-options["learning_rate"] * last.direction, step, rtol=1e-6)


def test_the_flow_beside_a_step_of_adam_starts_at_its_point_of_phase_space():
    """The classical Runge-Kutta method with 400 steps, on the equations of the docstring."""
    eta, b1, b2, k, n = 0.25, 0.9, 0.999, 6, 400
    last = analysis.inside(Adam(eta, b1, b2), himmelblau, first=k, steps=1).last
    grad = jax.grad(himmelblau.loss)
    tau1, tau2 = eta / (1 - b1), eta / (1 - b2)

    @jax.jit
    def rates(t, y):
        x, m, v = y
        g = grad(x)
        m_hat, v_hat = m / (1 - jnp.exp(-t / tau1)), v / (1 - jnp.exp(-t / tau2))
        return jnp.stack([-m_hat / (jnp.sqrt(v_hat) + 1e-8), (g - m) / tau1, (g**2 - v) / tau2])

    y, t, dt = jnp.stack([a[k] for a in last.map.y]), k * eta, eta / n
    curve = [y[0]]
    for _ in range(n):
        a = rates(t, y)
        b = rates(t + dt / 2, y + dt / 2 * a)
        c = rates(t + dt / 2, y + dt / 2 * b)
        d = rates(t + dt, y + dt * c)
        y, t = y + dt / 6 * (a + 2 * b + 2 * c + d), t + dt
        curve.append(y[0])
    curve = np.asarray(curve)
    np.testing.assert_allclose(last.curve[::8], curve[:: n // 8], atol=1e-8)
    miss = np.hypot(*(curve[-1] - np.asarray(last.map.x[-1])))
    assert last.error == pytest.approx(miss, rel=1e-6) and 0.02 < miss < 0.03


def test_only_adam_and_rmsprop_are_taken_apart_into_mean_and_spread():
    assert analysis.inside(Momentum(0.01), booth, steps=1).last is None
    last = analysis.inside(RMSprop(0.1), booth, first=3, steps=1).last
    assert repr(last) == f"AdaptiveStep({RMSprop(0.1)} on booth, step 3)"
