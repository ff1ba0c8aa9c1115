"""Signum, Lion and Muon: steps along the gradient of a norm, inclusions, Lyapunov functions."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from losses import QUARTIC_START as start, quartic as f, quartic_gradient as numpy_grad
from reference_runs import run_map, solve_flow

from dynopt import Lion, Muon, Problem, Signum, analysis, integrate, iterate, problems
from dynopt.errors import InvalidValue
from dynopt.optimizers import signs
from dynopt.optimizers.lion import LionState
from dynopt.optimizers.matrices import CONVERGENT, QUINTIC, newton_schulz, polar_factor
from dynopt.optimizers.muon import MuonState
from dynopt.optimizers.signum import SignumState

grad = jax.grad(f)
m = np.array([0.3, -0.2])


def lyapunov_rate(optimizer, y, f=f, grad=grad, t=0.3):
    return jax.jvp(
        lambda t, y: optimizer.lyapunov(t, y, f), (t, y), (1.0, optimizer.vector_field(t, y, grad))
    )[1]


# --- the smoothed sign and its conjugate


def test_the_smoothed_sign_is_the_gradient_of_the_norm_and_inverse_to_that_of_its_conjugate():
    m = jnp.linspace(-2, 2, 9)
    np.testing.assert_allclose(
        jax.vmap(jax.grad(lambda m: signs.smoothed_norm(m, 0.3)))(m), signs.sign(m, 0.3), atol=1e-15
    )
    u = signs.sign(m, 0.9)
    np.testing.assert_allclose(
        jax.vmap(jax.grad(lambda u: signs.conjugate_norm(u, 0.9)))(u), m, rtol=1e-13, atol=1e-15
    )
    np.testing.assert_allclose(
        signs.smoothed_norm(m, 0.9) + signs.conjugate_norm(u, 0.9), u * m, rtol=1e-13, atol=1e-15
    )  # Fenchel


def test_without_smoothing_they_are_the_sign_its_norm_and_the_box():
    m = jnp.array([-2.0, 0.0, 1e-200])
    np.testing.assert_array_equal(signs.sign(m, 0.0), [-1, 0, 1])
    np.testing.assert_array_equal(signs.smoothed_norm(m, 0.0), np.abs(m))
    np.testing.assert_array_equal(
        signs.conjugate_norm(jnp.array([0.5, 1.0, 1.5]), 0.0), [0, 0, np.inf]
    )
    np.testing.assert_allclose(
        signs.conjugate_norm(jnp.array([1.0, 1.5]), 0.3), [0.3 * np.log(2), np.inf]
    )


# --- Signum


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_signum_map_and_flow(smoothing):
    optimizer, x, mean = Signum(0.01, 0.8, smoothing), start, 0.0
    sign = np.sign if smoothing == 0 else lambda m: np.tanh(m / smoothing)
    for position in run_map(optimizer, grad, start, 30).x[1:]:
        mean = 0.8 * mean + 0.2 * numpy_grad(x)
        x = x - 0.01 * sign(mean)
        np.testing.assert_allclose(position, x, rtol=1e-12)
    dy = optimizer.vector_field(0.0, SignumState(jnp.asarray(start), jnp.asarray(m)), grad)
    np.testing.assert_allclose(dy.x, -sign(m), rtol=1e-15)
    np.testing.assert_allclose(dy.m, (numpy_grad(start) - m) / (0.01 / 0.2), rtol=1e-13)


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_the_lyapunov_function_of_signum_falls_at_the_sum_of_memory_times_sign(smoothing):
    optimizer = Signum(0.01, 0.8, smoothing)
    y = SignumState(jnp.asarray(start), jnp.asarray(m))
    np.testing.assert_allclose(
        lyapunov_rate(optimizer, y), -np.sum(m * signs.sign(jnp.asarray(m), smoothing)), rtol=1e-12
    )


def test_with_a_short_memory_each_coordinate_reaches_zero_in_finite_time():
    """|x| = max(|x₀| - t, 0) on separable bowls, up to oscillations of the size of τ."""
    tau = 1e-3
    optimizer = Signum(tau, 0.0)
    x = run_map(optimizer, lambda x: jnp.array([1.0, 7.0]) * x, [0.5, -0.8], 1000).x
    t = np.arange(1001)[:, None] * tau
    np.testing.assert_allclose(np.abs(x), np.maximum(np.array([0.5, 0.8]) - t, 0), atol=2.1 * tau)


def test_the_error_of_signum_is_zero_until_the_first_crossing_and_then_of_the_size_of_h():
    bowl = Problem(lambda x: jnp.sum(x**2) / 2, [1.0], name="bowl")
    comparison = analysis.compare(Signum(0.02), bowl, 80)
    crossing = int(np.argmax(np.sign(comparison.map.y.m[1:, 0]) != 1)) + 1
    assert 20 < crossing < 80
    assert comparison.error[:crossing].max() < 1e-8
    assert 0.2 * 0.02 < comparison.error.max() < 4 * 0.02


def test_the_flow_of_signum_does_not_stay_on_the_jump():
    """On m = 0 the memory has the velocity g/τ."""
    y = SignumState(jnp.asarray(start), jnp.zeros(2))
    optimizer = Signum(0.01, 0.8)
    np.testing.assert_allclose(
        optimizer.vector_field(0.0, y, grad).m, numpy_grad(start) / optimizer.tau, rtol=1e-15
    )


# --- Lion


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_lion_map_and_flow(smoothing):
    optimizer, x, mean = Lion(0.01, 0.8, 0.95, 0.3, smoothing), start, 0.0
    sign = np.sign if smoothing == 0 else lambda m: np.tanh(m / smoothing)
    for position in run_map(optimizer, grad, start, 30).x[1:]:
        g = numpy_grad(x)
        x = x - 0.01 * (sign(0.8 * mean + 0.2 * g) + 0.3 * x)
        mean = 0.95 * mean + 0.05 * g
        np.testing.assert_allclose(position, x, rtol=1e-12)
    dy = optimizer.vector_field(0.0, LionState(jnp.asarray(start), jnp.asarray(m)), grad)
    np.testing.assert_allclose(
        dy.x, -sign(0.8 * m + 0.2 * numpy_grad(start)) - 0.3 * start, rtol=1e-14
    )
    np.testing.assert_allclose(dy.m, (numpy_grad(start) - m) / (0.01 / 0.05), rtol=1e-13)


def test_where_the_flow_of_lion_slides_its_memory_fades_in_the_time_1_minus_b1_times_tau():
    """β₁ m + (1-β₁) g = 0 makes τ m′ = g - m = -m/(1-β₁), and x is proportional to m in a bowl."""
    bowl = Problem(lambda x: jnp.sum(10 * x**2) / 2, [1.5], name="bowl")
    sliding, time = integrate(Lion(0.05), bowl, 80), (1 - 0.9) * 0.05 / (1 - 0.99)
    mixture = 0.9 * sliding.y.m[-1] + 0.1 * 10 * sliding.x[-1]
    assert np.abs(mixture) < 1e-3 * np.abs(sliding.y.m[-1])
    expected = np.exp(-(sliding.t[-1] - sliding.t[-11]) / time)
    np.testing.assert_allclose(sliding.x[-1] / sliding.x[-11], expected, rtol=2e-3)


SCALES = [1.0, 1e-6, 1e-12]


class Booth(eqx.Module):
    """The loss of Booth times a factor."""

    factor: Array

    def __call__(self, x):
        return self.factor * BOOTH.loss(x)


BOOTH = problems.booth()


def booth(factor):
    return Problem(Booth(jnp.asarray(factor)), BOOTH.x0, name="booth")


@pytest.mark.parametrize("scale", SCALES)
def test_the_flow_of_lion_is_the_limit_of_its_map_at_every_scale_of_the_loss(scale):
    """Until a sign changes x′ = -s - λx, so x = (x₀ + s/λ) e^(-λt) - s/λ; the map has (1-hλ)^k."""
    h, decay, steps = 0.01, 1e-3, 200
    signs_at_start = np.sign(jax.grad(BOOTH.loss)(jnp.asarray(BOOTH.x0)))
    factors = np.abs(
        np.exp(-h * decay * np.arange(steps + 1)) - (1 - h * decay) ** np.arange(steps + 1)
    )
    distance = np.linalg.norm(BOOTH.x0 + signs_at_start / decay)
    comparison = analysis.compare(Lion(h), booth(scale), steps)
    np.testing.assert_allclose(comparison.error, distance * factors, atol=1e-9)
    assert comparison.resolved and comparison.largest > 1e-5
    measured = analysis.order(Lion(0.02), booth(scale), time=1.0, refinements=3)
    assert measured.slope == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("kind", [Lion, Signum])
def test_where_a_flow_with_signs_ends_does_not_depend_on_the_scale_of_the_loss(kind):
    """Even where the memory is far below the tolerance of the solver in the units of the loss."""
    whole, tiny = (integrate(kind(0.01), booth(scale), 600).x[-1] for scale in (1.0, 1e-9))
    np.testing.assert_allclose(tiny, whole, atol=2e-5)


def test_the_map_of_lion_approaches_its_flow_where_gradients_are_small():
    """The largest error falls with the time step on a network with gradients down to 1e-7."""
    network, steps = problems.tanh_network(), 10
    flow = integrate(Lion(1e-3), network, steps)
    coarse, fine = (
        np.linalg.norm(
            iterate(Lion(1e-3).refine(n), network, n * steps, save_every=n).y.x - flow.y.x, axis=1
        ).max()
        for n in (1, 16)
    )
    assert 1e-3 < coarse < 1e-1 and fine < coarse / 6


@pytest.mark.parametrize(("decay", "smoothing"), [(0.0, 0.3), (0.3, 0.3), (0.3, 0.0)])
def test_the_lyapunov_function_of_lion_never_rises(decay, smoothing):
    optimizer = Lion(0.01, 0.8, 0.95, decay, smoothing)
    random = np.random.default_rng(0)
    rates = jax.jit(jax.vmap(lambda x, m: lyapunov_rate(optimizer, LionState(x, m))))
    assert (rates(*random.uniform(-3, 3, (2, 200, 2))) < 1e-10).all()


def test_lion_minimises_the_loss_within_its_box():
    """min f + K*(λx)/λ: in the limit ∇f + artanh(λx) s = 0, within |x| ≤ 1/λ.

    The Lyapunov function never rises on the way.
    """
    decay, s, target = 0.5, 0.2, jnp.array([2.2, 1.0])
    optimizer = Lion(0.05, 0.9, 0.95, decay, s)
    run = solve_flow(
        optimizer, lambda x: x - target, [0.1, 0.2], np.linspace(0, 60, 200), tol=1e-11
    )
    end = np.asarray(run.x[-1])
    np.testing.assert_allclose(end - np.asarray(target) + s * np.arctanh(decay * end), 0, atol=1e-6)
    assert (np.abs(run.x) < 1 / decay).all()
    values = jax.vmap(
        lambda y: optimizer.lyapunov(0.0, y, lambda x: jnp.sum((x - target) ** 2) / 2)
    )(run)
    assert np.diff(values).max() < 1e-8


def test_the_equilibria_of_lion_are_the_stationary_points_of_the_loss_in_its_box():
    """∇f + s artanh(λx) = 0 at m = ∇f, whatever the curvature of f is."""
    decay, s, x = 0.5, 0.2, np.array([1.2, -0.7])
    g = jnp.asarray(-s * np.arctanh(decay * x))
    rate = Lion(0.05, 0.9, 0.95, decay, s).vector_field(0.0, LionState(x, g), lambda _: g)
    np.testing.assert_allclose(rate.x, 0, atol=1e-14)
    np.testing.assert_allclose(rate.m, 0, atol=1e-14)


def test_lion_enters_its_box_at_the_rate_of_its_decay():
    decay = 0.5
    t = np.linspace(0, 4, 30)
    x = np.asarray(solve_flow(Lion(0.05, 0.9, 0.95, decay, 0.2), lambda x: x - 5, [6.0, -7.0], t).x)
    outside = np.maximum(np.abs(x) - 1 / decay, 0)
    assert (outside <= np.exp(-decay * t)[:, None] * outside[0] + 1e-10).all()


# --- Muon

A = np.random.default_rng(1).normal(size=(3, 4))


def slope_to(target):
    """The gradient of |x - target|²/2."""
    return lambda x: x - jnp.asarray(target)


def numpy_sign(M):
    u, _, v = np.linalg.svd(M, full_matrices=False)
    return u @ v


def test_muon_map_and_flow_with_the_polar_factor():
    optimizer, x, mean, r = Muon(0.02, 0.9, exact=True), np.zeros((3, 4)), 0.0, np.sqrt(4 / 3)
    for k, position in enumerate(run_map(optimizer, slope_to(A), np.zeros((3, 4)), 12).x[1:]):
        g = x - A
        mean = 0.9 * mean + 0.1 * g
        m_hat = 0.9 * mean / (1 - 0.9 ** (k + 2)) + 0.1 * g / (1 - 0.9 ** (k + 1))
        x = x - 0.02 * r * numpy_sign(m_hat)
        np.testing.assert_allclose(position, x, atol=1e-13)
    M = np.random.default_rng(2).normal(size=(3, 4))
    dy = optimizer.vector_field(0.3, MuonState(jnp.asarray(x), jnp.asarray(M)), slope_to(A))
    np.testing.assert_allclose(dy.x, -r * numpy_sign(M), atol=1e-14)
    np.testing.assert_allclose(dy.m, (x - A - M) / (0.02 / 0.1), rtol=1e-12)
    first = optimizer.vector_field(0.0, optimizer.init(jnp.asarray(x), slope_to(A)), slope_to(A))
    np.testing.assert_allclose(first.x, -r * numpy_sign(x - A), atol=1e-14)


def test_without_a_memory_singular_values_shrink_linearly_to_zero():
    """X′ = -r msign(X - A): a singular value of X - A is max(σ - r t, 0); singular vectors stay."""
    optimizer, r, h = Muon(1e-4, 0.0, exact=True), np.sqrt(4 / 3), 1e-4
    sigma = np.linalg.svd(A, compute_uv=False)
    steps = round(1.05 * sigma[1] / r / h)
    X = np.asarray(run_map(optimizer, slope_to(A), np.zeros((3, 4)), steps).x[-1])
    remaining = np.linalg.svd(X - A, compute_uv=False)
    np.testing.assert_allclose(remaining, np.maximum(sigma - r * h * steps, 0), atol=2 * r * h)
    u, _, v = np.linalg.svd(A)
    np.testing.assert_allclose(np.abs(u[:, 0] @ (A - X) @ v[0]), remaining[0], rtol=1e-8)


def test_the_lyapunov_function_of_exact_muon_falls_at_the_nuclear_norm_of_its_memory():
    """d/dt (f + τ Σ r |m|*) = -Σ r |m|*, over two matrices in one position."""
    optimizer = Muon(0.02, 0.9, exact=True).for_leaves(
        {"a": np.zeros((3, 4)), "b": np.zeros((2, 2))}
    )
    random = np.random.default_rng(3)
    x, M = random.normal(size=(2, 16))

    def loss(x):
        return jnp.sum(jnp.cos(x)) + jnp.sum(x**2)

    y = MuonState(jnp.asarray(x), jnp.asarray(M))
    rate = jax.jit(lambda y: lyapunov_rate(optimizer, y, loss, jax.grad(loss)))(y)
    nuclear = [
        np.linalg.svd(part, compute_uv=False).sum()
        for part in (M[:12].reshape(3, 4), M[12:].reshape(2, 2))
    ]
    np.testing.assert_allclose(rate, -(np.sqrt(4 / 3) * nuclear[0] + nuclear[1]), rtol=1e-10)


def test_five_steps_of_newton_and_schulz_map_singular_values_near_one_only():
    """σ/|m| in [0.01, 1] is mapped into [0.68, 1.14], with the slope 485 at 0.

    With the convergent coefficients the result is the polar factor.
    """
    sigma = np.linspace(0.01, 1, 20_000)

    def composite(s, coefficients, steps):
        a, b, c = coefficients
        for _ in range(steps):
            s = a * s + b * s**3 + c * s**5
        return s

    mapped = composite(sigma, *QUINTIC)
    assert (mapped.min(), mapped.max()) == pytest.approx((0.6818, 1.1344), abs=1e-3)
    assert 0.68 < mapped.min() and mapped.max() < 1.14
    assert composite(1e-9, *QUINTIC) / 1e-9 == pytest.approx(484.88, abs=0.01)
    assert np.abs(composite(sigma, *CONVERGENT) - 1).max() < 1e-12
    M = jnp.asarray(A)
    u, s, v = np.linalg.svd(A, full_matrices=False)
    mapped = composite(s / np.linalg.norm(A), *QUINTIC)
    np.testing.assert_allclose(newton_schulz(M), u @ np.diag(mapped) @ v, atol=1e-6)
    np.testing.assert_allclose(newton_schulz(M.T), np.asarray(newton_schulz(M)).T, atol=1e-14)
    np.testing.assert_allclose(newton_schulz(M, *CONVERGENT), polar_factor(M), atol=1e-9)


def test_newton_and_schulz_follow_gradients_far_above_1e_8_and_the_polar_factor_all():
    """The iteration divides by |m| + 1e-8; where |m| = 1e-8, it starts from half of m/|m|."""
    M = jnp.asarray(A) / np.linalg.norm(A)
    np.testing.assert_allclose(newton_schulz(1e-2 * M), newton_schulz(M), atol=1e-4)
    u, s, v = np.linalg.svd(M / 2, full_matrices=False)
    a, b, c = QUINTIC[0]
    for _ in range(QUINTIC[1]):
        s = a * s + b * s**3 + c * s**5
    np.testing.assert_allclose(newton_schulz(1e-8 * M), u @ np.diag(s) @ v, atol=1e-6)
    np.testing.assert_allclose(polar_factor(1e-100 * M), polar_factor(M), atol=1e-13)


def test_the_polar_factor_leaves_out_directions_whose_singular_value_is_zero():
    np.testing.assert_allclose(
        polar_factor(jnp.diag(jnp.array([2.0, 0.0]))), np.diag([1.0, 0.0]), atol=1e-15
    )
    np.testing.assert_array_equal(polar_factor(jnp.zeros((2, 3))), 0)


def test_muon_of_a_pytree_is_optax_and_leaves_that_are_no_matrices_are_refused(library_path):
    x = {"a": jnp.asarray(A), "b": jnp.asarray(A.T[:2])}
    flat, _ = jax.flatten_util.ravel_pytree(x)

    def grad(x):
        return jax.tree.map(lambda leaf: jnp.cos(leaf) + leaf, x)

    optimizer = Muon(0.02).for_leaves(x)
    run = run_map(optimizer, grad, flat, 3)
    for k, position in enumerate(library_path(optimizer.optax(), grad, x, 3)):
        flat = jax.flatten_util.ravel_pytree(position)[0]
        np.testing.assert_allclose(run.x[k + 1], flat, rtol=1e-12)

    words = r"Muon moves matrices, but the position\['bias'\] has shape \(3,\); make it a matrix"
    with pytest.raises(InvalidValue, match=words):
        Muon(0.02).for_leaves({"weight": np.zeros((3, 3)), "bias": np.zeros(3)})
    with pytest.raises(
        InvalidValue, match=r"Muon moves matrices, but the position has shape \(2,\)"
    ):
        integrate(Muon(0.02), Problem(lambda x: jnp.sum(x**2), [1.0, 2.0], name="bowl"), 3)
    with pytest.raises(
        InvalidValue, match="no Lyapunov function is known .* polar factor; pass exact=True"
    ):
        Muon(0.02).lyapunov(0.0, MuonState(jnp.asarray(A), jnp.asarray(A)), lambda x: jnp.sum(x))
