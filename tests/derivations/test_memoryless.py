"""At fixed decays the memory follows the position, with a delay that is corrected to order h.

The correction is known in closed form for six methods.
"""

import math
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from losses import Bowl, quartic

from dynopt import (
    SGD,
    Adam,
    Lion,
    Memoryless,
    Modified,
    Momentum,
    Muon,
    NAdam,
    NesterovConvex,
    Optax,
    Problem,
    RMSprop,
    Schedule,
    analysis,
    integrate,
    iterate,
)
from dynopt.derivations.expansion import settling_time
from dynopt.errors import InvalidType, InvalidValue, UnknownName
from dynopt.optimizers import AbstractOptimizer
from dynopt.runs.prepare import flatten_loss, with_dtype

f = Bowl(jnp.array([1.0, 4.0]), jnp.array(1.0))
smooth = Problem(f, [-1.5, 1.0], name="smooth")
x, h = jnp.array([-1.1, 0.6]), 0.01
LATE = jnp.asarray(1e9)  # so late every memory has filled
g, H = jax.jit(lambda x: (jax.grad(f)(x), jax.hessian(f)(x)))(x)


class Nesterov(eqx.Module):
    b: jax.Array

    def __call__(self, h):
        return optax.sgd(h, momentum=self.b, nesterov=True)


class Averaged(eqx.Module):
    b: jax.Array

    def __call__(self, h):
        return optax.chain(optax.ema(self.b, debias=False), optax.scale(-h))


class AdamInside(eqx.Module):
    b1: jax.Array
    b2: jax.Array
    eps: float = 0.1

    def __call__(self, h):
        return optax.adam(h, self.b1, self.b2, eps=0.0, eps_root=self.eps)


def corrected(optimizer):
    """The optimizer with corrected flow, its numbers as arrays: one compilation for all decays."""
    return with_dtype(Modified(Memoryless(optimizer)), jnp.float64)


@eqx.filter_jit
def flows(optimizer, loss, x, t=LATE):
    """The flow without and with its correction."""
    grad = jax.grad(loss)
    y = optimizer.init(x, grad)
    return optimizer.optimizer.vector_field(t, y, grad).x, optimizer.vector_field(t, y, grad).x


@eqx.filter_jit
def starts(optimizer, loss, x):
    """Where the flow starts without and with its correction."""
    return optimizer.optimizer.init_flow(x, jax.grad(loss)).x, optimizer.init_flow(
        x, jax.grad(loss)
    ).x


def assert_follows(optimizer, velocity, correction, t=LATE):
    optimizer = corrected(optimizer)
    first, second = flows(optimizer, f, x, t)
    np.testing.assert_allclose(first, velocity, rtol=1e-8)
    np.testing.assert_allclose((second - first) / optimizer.h, correction, rtol=1e-8)


def made_of_optax(family, *rates):
    return Optax(family(*map(jnp.asarray, rates)), h)


@pytest.mark.parametrize("b", [0.5, 0.9, 0.999])
def test_heavy_ball(b):
    """x′ = -(g + h (1+b)/(2(1-b)²) H g)/(1-b)."""
    assert_follows(Momentum(h, b), -g / (1 - b), -(1 + b) / (2 * (1 - b) ** 3) * H @ g)


@pytest.mark.parametrize("b", [0.5, 0.9, 0.999])
def test_nesterov(b):
    """x′ = -(g + h (1-b+2b²)/(2(1-b)²) H g)/(1-b), where optax keeps the extrapolated point."""
    optimizer = made_of_optax(Nesterov, b)
    assert_follows(optimizer, -g / (1 - b), -(1 - b + 2 * b**2) / (2 * (1 - b) ** 3) * H @ g)


def test_averaged_momentum(b=0.9):
    """x′ = -g - h (1+b)/(2(1-b)) H g."""
    assert_follows(made_of_optax(Averaged, b), -g, -(1 + b) / (2 * (1 - b)) * H @ g)


def bracket(b1, b2, eps_fraction):
    """(1+b₁)/(1-b₁) - (1+b₂)/(1-b₂) (1 - a), where a is the fraction of ε in the root."""
    return (1 + b1) / (1 - b1) - (1 + b2) / (1 - b2) * (1 - eps_fraction)


@pytest.mark.parametrize("rho", [0.9, 0.999])
def test_rmsprop(rho, eps=0.1):
    """x′ = -u - (h/2) (H u/R) (1 - (1+ρ)/(1-ρ) (1 - ε/R²)), R = √(g²+ε), u = g/R."""
    R = np.sqrt(g**2 + eps)
    assert_follows(
        RMSprop(h, rho, eps), -g / R, -(H @ (g / R)) / R / 2 * bracket(0, rho, eps / R**2)
    )


@pytest.mark.parametrize(("b1", "b2"), [(0.9, 0.999), (0.9, 0.5)])
def test_adam_with_eps_inside(b1, b2, eps=0.1):
    R = np.sqrt(g**2 + eps)
    correction = -(H @ (g / R)) / R / 2 * bracket(b1, b2, eps / R**2)
    assert_follows(made_of_optax(AdamInside, b1, b2), -g / R, correction)


@pytest.mark.parametrize(("b1", "b2"), [(0.9, 0.999), (0.9, 0.5)])
def test_adam_with_eps_outside(b1, b2, eps=0.1):
    """The same bracket, with R = |g| + ε and the fraction ε/R."""
    R = np.abs(g) + eps
    assert_follows(Adam(h, b1, b2, eps), -g / R, -(H @ (g / R)) / R / 2 * bracket(b1, b2, eps / R))


def mean_age(b, n):
    """Of the gradients in a running mean after n + 1 steps: Σ j bʲ / Σ bʲ over j = 0, ..., n."""
    age = np.arange(n + 1)
    return np.sum(age * b**age) / np.sum(b**age)


@pytest.mark.parametrize("n", [0, 1, 20, 3000])
def test_after_n_steps_the_memories_of_adam_are_n_steps_long(n, b1=0.9, b2=0.999, eps=0.1):
    """x′ = -u - h (H u/R) (kₙ(β₁) - kₙ(β₂) (1 - q) + q/2), R = |g| + ε, u = g/R, q = ε/R."""
    R, k1, k2 = np.abs(g) + eps, mean_age(b1, n), mean_age(b2, n)
    lag = k1 - k2 * (1 - eps / R) + eps / R / 2
    assert_follows(
        Adam(h, b1, b2, eps), -g / R, -(H @ (g / R)) / R * lag, jnp.asarray((n + 0.5) * h)
    )


def test_nadam_after_n_steps(n=3, b1=0.9, b2=0.99, eps=0.1):
    """m̂ is w (mean + k₁ delay) + w′ g, in which w + w′ differs from 1 in the first steps."""
    R, k1, k2 = np.abs(g) + eps, mean_age(b1, n), mean_age(b2, n)
    w = b1 * (1 - b1 ** (n + 1)) / (1 - b1 ** (n + 2))
    total = w + (1 - b1) / (1 - b1 ** (n + 1))
    lag = w * k1 - total * k2 * np.abs(g) / R + eps / R / 2
    assert_follows(
        NAdam(h, b1, b2, eps), -g / R, -(H @ (g / R)) / R * lag, jnp.asarray((n + 0.5) * h)
    )


def test_only_the_lag_of_each_step_brings_the_flow_closer_to_adam_from_the_first_step_on():
    """At (0.9, 0.999) and h = 1e-4, after 10, 1000 and 3000 steps, where the lag of n → ∞ is worse than none.

    The numbers are those of a map in numpy and of flows in closed form, solved by scipy.
    """
    optimizer, problem = Memoryless(Adam(1e-4, eps=0.0, eps_root=0.1)), Problem(quartic, [1.5, 1.0])
    path, flow, corrected_flow = (
        run.x[jnp.array([1, 100, 300])]
        for run in (
            iterate(optimizer, problem, 3000, save_every=10),
            integrate(optimizer, problem, 3000, save_every=10, rtol=1e-9, atol=1e-12),
            integrate(Modified(optimizer), problem, 3000, save_every=10, rtol=1e-9, atol=1e-12),
        )
    )
    plain, corrected = (np.linalg.norm(x - path, axis=1) for x in (flow, corrected_flow))
    late = np.array([1.926e-4, 1.566e-2, 3.268e-2])
    np.testing.assert_allclose(plain, [5.999e-8, 4.125e-3, 3.016e-2], rtol=1e-3)
    np.testing.assert_allclose(corrected[1:], [1.972e-4, 3.361e-3], rtol=1e-3)
    assert 0 < corrected[0] < 2e-9
    assert (corrected < plain / 8).all() and (plain < late).all()


@pytest.mark.parametrize("b", [0.9, 0.999])
def test_the_start_is_shifted_by_what_the_filling_memory_holds_back(b):
    """By h b/(1-b)² g for heavy ball and h b²/(1-b)² g for Nesterov.

    It is not shifted where a bias correction fills the memory at once.
    """
    for optimizer, shift in [
        (Momentum(h, b), b / (1 - b) ** 2 * g),
        (made_of_optax(Nesterov, b), b**2 / (1 - b) ** 2 * g),
        (Adam(h, b, 0.9), 0 * g),
    ]:
        plain, shifted = starts(corrected(optimizer), f, x)
        np.testing.assert_array_equal(plain, x)
        np.testing.assert_allclose((shifted - x) / h, shift, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Momentum(0.004, 0.8),
        lambda: made_of_optax(AdamInside, 0.9, 0.95).with_time_step(0.002),
        lambda: Adam(0.001, 0.9, 0.95, eps=0.01),
    ],
    ids=["heavy ball", "adam, eps inside", "adam, eps outside"],
)
def test_the_global_error_against_the_corrected_flow_is_of_order_h_squared(make):
    """The flow is solved by scipy, and the error is measured once the memory has filled."""
    from scipy.integrate import solve_ivp

    optimizer = corrected(make())
    steps = round(0.5 / float(optimizer.h))
    first = math.ceil(settling_time(optimizer) / optimizer.h)
    errors = []
    for n in (4, 8):
        fine = optimizer.refine(n)
        run = iterate(fine, smooth, 8 * steps)  # one length, so that it is compiled once
        path = run.x[first * n : steps * n + 1 : n]
        times, x0 = np.arange(steps + 1) * float(optimizer.h), starts(fine, f, smooth.start())[1]

        def field(t, x, fine=fine):
            return flows(fine, f, x, jnp.asarray(t))[1]

        flow = solve_ivp(field, (0, times[-1]), x0, "DOP853", times, rtol=1e-12, atol=1e-14)
        errors.append(np.linalg.norm(path - flow.y.T[first:], axis=1).max())
    assert optimizer.regularity.order == 2 and np.log2(errors[0] / errors[1]) > 1.8


def test_the_factor_of_heavy_ball_on_a_quadratic_is_a_series_of_legendre_polynomials():
    """log r = -Σ αⁿ Pₙ₋₁(z)/n with α = ηλ/(1-b), z = (1+b)/(1-b).

    The first two terms are the flow and its correction.
    """
    b, lam = 0.8, 0.4
    alpha, z = h * lam / (1 - b), (1 + b) / (1 - b)
    r = max(np.roots([1, -(1 + b - h * lam), b]), key=np.real).real
    terms = [alpha**n * np.polynomial.legendre.Legendre.basis(n - 1)(z) / n for n in range(1, 30)]
    assert np.log(r) == pytest.approx(-sum(terms), rel=1e-9)

    quadratic = Bowl(jnp.array([lam, lam]), jnp.array(0.0))
    _, rate = flows(corrected(Momentum(h, b)), quadratic, jnp.ones(2))
    np.testing.assert_allclose(h * rate, -terms[0] - terms[1], rtol=1e-12)


def test_the_map_is_unchanged_and_its_time_step_is_the_learning_rate():
    optimizer = Memoryless(Momentum(0.01))
    np.testing.assert_allclose(
        iterate(optimizer, smooth, 10).x, iterate(Momentum(0.01), smooth, 10).x, rtol=1e-14
    )
    assert optimizer.h == pytest.approx(0.01) and optimizer.refine(2).h == pytest.approx(0.005)
    assert repr(optimizer) == "Memoryless(Momentum(learning_rate=0.01, momentum=0.9))"


def test_an_optimizer_without_memory_keeps_its_flow():
    optimizer = Memoryless(SGD(h))
    assert optimizer.fields == ("x",) and settling_time(optimizer) == 0
    assert_follows(SGD(h), -g, -H @ g / 2)


class Scheduled(eqx.Module):
    """A mixture of four schedules, so that one compilation serves all."""

    mixture: jax.Array

    def __call__(self, h):
        decay, warm_up = optax.cosine_decay_schedule(h, 100), optax.linear_schedule(0.0, h, 10)
        floor = optax.cosine_decay_schedule(h, 1000, alpha=0.1)
        return optax.sgd(
            lambda k: self.mixture @ jnp.stack([h * jnp.cos(k * h), decay(k), warm_up(k), floor(k)])
        )


WITHOUT_LIMIT = {
    "adagrad": (
        optax.adagrad,
        r"the state leaf `\[0\]\[0\].sum_of_squares` of adagrad never forgets, so x alone has no "
        "flow",
    ),
    "cosine in time": (
        Scheduled(jnp.eye(4)[0]),
        "the steps of Scheduled depend on the step count for ever; use constant rates",
    ),
    "decay": (Scheduled(jnp.eye(4)[1]), "depend on the step count for ever"),
    "warm-up": (Scheduled(jnp.eye(4)[2]), "depend on the step count for ever"),
    "decay to a tenth": (Scheduled(jnp.eye(4)[3]), "depend on the step count for ever"),
    "nesterov_convex": (
        NesterovConvex(0.1),
        r"the state leaf `\[0\]\[1\]` of NesterovConvex never forgets, so x alone has no flow",
    ),
    "adabelief": (
        optax.adabelief,
        "the steps of adabelief grow beyond bounds once its memory has filled, where it divides by "
        "almost 0; use a larger `eps`",
    ),
}


@pytest.mark.parametrize(("family", "words"), WITHOUT_LIMIT.values(), ids=WITHOUT_LIMIT)
def test_a_memory_without_a_limit_is_refused(family, words):
    with pytest.raises(InvalidValue, match=words):
        Memoryless(family if isinstance(family, NesterovConvex) else Optax(family, 0.1))


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_lion_without_its_memory_steps_by_the_sign_of_the_gradient(smoothing):
    """At a fixed decay m is g to first order; weight decay is left out."""
    optimizer = Memoryless(Lion(1e-3, weight_decay=0.0, smoothing=smoothing))
    x = jnp.array([0.2, -0.3])
    velocity = optimizer.vector_field(0.0, optimizer.init_flow(x, lambda x: x), lambda x: x).x
    np.testing.assert_allclose(
        velocity, -jnp.tanh(x / smoothing) if smoothing else -jnp.sign(x), rtol=1e-6
    )


def test_the_manifold_is_known_to_order_two_only():
    with pytest.raises(
        InvalidValue, match="`order` is 3, but Memoryless.* is known to order 2 only; use order=2"
    ):
        Modified(Memoryless(Momentum(0.1)), 3)


def test_the_order_is_measured_once_the_memory_has_filled():
    """0.99ᵏ falls below a thousandth in 688 steps; by default 50 more steps are measured.

    A shorter time is refused.
    """
    optimizer = Modified(Memoryless(RMSprop(0.0005, decay=0.99, eps=0.01)))
    words = "`time` is 0.1, but the map of Modified.* settles on its flow only at 0.344"
    with pytest.raises(InvalidValue, match=words):
        analysis.order(optimizer, smooth, time=0.1)
    measured = analysis.order(optimizer, smooth, refinements=3)
    assert measured.time == pytest.approx(738 * 0.0005)
    assert measured.pairwise[-1] == pytest.approx(2, abs=0.2)


class OptimisticGradient(eqx.Module):
    """x ← x - h (2 g - g₋), where g₋ is the gradient of the last step and at first 0."""

    def __call__(self, h):
        def update(g, last, _):
            return jax.tree.map(lambda g, last: -h * (2 * g - last), g, last), g

        return optax.GradientTransformation(lambda x: jax.tree.map(jnp.zeros_like, x), update)


def test_a_memory_that_is_replaced_in_each_step_settles_in_one_step():
    """x′ = -g + (h/2) H g follows optimistic gradient descent to O(h²), after its first step 2 h g."""
    optimizer = made_of_optax(OptimisticGradient)
    assert_follows(optimizer, -g, H @ g / 2)
    modified = corrected(optimizer)
    assert settling_time(modified) == pytest.approx(h)
    measured = analysis.order(modified, smooth, refinements=4)
    assert measured.expected == 2 and measured.verdict == "agrees"
    assert measured.pairwise[-1] == pytest.approx(2, abs=0.05)


def test_the_order_is_measured_from_the_start_where_a_bias_correction_fills_the_memory():
    optimizer = Memoryless(Adam(h, 0.9, 0.999))
    assert settling_time(optimizer) <= h < settling_time(Memoryless(NAdam(h)))


squares = Problem(lambda x: (x**2).sum() / 2, np.array([[3.0, 0.0], [4.0, 5.0]]), name="squares")


def test_matrices_are_seen_as_matrices():
    optimizer, start = Memoryless(Muon(0.002, 0.8)), squares.start()
    np.testing.assert_allclose(
        iterate(optimizer, squares, 3).x, iterate(Muon(0.002, 0.8), squares, 3).x, rtol=1e-12
    )
    fitted = optimizer.refine(2).for_leaves(start)
    assert fitted.h == 0.001 and fitted.for_leaves(start) == fitted and not fitted.elementwise


def test_of_one_kind_many_may_be_made():
    """The second is measured by the program that was compiled for the first."""
    decays = [Memoryless(made_of_optax(Averaged, b)).largest_decay for b in (0.5, 0.9)]
    np.testing.assert_allclose(decays, [0.5, 0.9], rtol=1e-9)


def half(x):
    return 2 * jnp.stack([x[0], 0 * x[1]])


def test_flows_have_derivatives_where_one_coordinate_of_the_gradient_is_zero(eps=0.1):
    """With R = 2 + ε: ∂x₀′/∂x₀ = -2ε/R², and x₀′ = -2/R - η (4/R²) (k(β₁) - k(β₂) (1-q) + q/2)."""

    def velocity(eta, x, wrap):
        optimizer = wrap(Memoryless(Adam(eta, eps=eps)))
        return optimizer.vector_field(1e9 * eta, optimizer.init(x, half), half).x

    R, ones = 2 + eps, jnp.ones(2)
    for jacobian in (jax.jacfwd, jax.jacrev):
        slopes = jax.jit(jacobian(lambda x: velocity(h, x, lambda optimizer: optimizer)))(ones)
        np.testing.assert_allclose(slopes, [[-2 * eps / R**2, 0], [0, 0]], rtol=1e-9, atol=1e-12)
    along_eta = jax.jit(jax.jacfwd(lambda eta: velocity(eta, ones, Modified)))(h)
    lag = 9 - 999 * (1 - eps / R) + eps / R / 2
    np.testing.assert_allclose(along_eta, [-4 / R**2 * lag, 0], rtol=1e-9, atol=1e-9)


def test_muon_without_memory_refuses_vectors():
    with pytest.raises(InvalidValue, match="Muon moves matrices, but the position has shape"):
        iterate(Memoryless(Muon(0.002)), smooth, 1)


def test_elementwise_optimizers_keep_their_memory_in_one_vector():
    optimizer = Memoryless(Adam(h))
    assert optimizer.for_leaves({"a": np.zeros((2, 2)), "b": np.zeros(1)}) == optimizer


def test_a_modified_flow_is_not_scaled():
    optimizer = Schedule(Memoryless(Momentum(h)), optax.constant_schedule(0.5))
    with pytest.raises(
        InvalidValue, match="scales the steps of a memoryless .* without dynopt.Mod"
    ):
        flows(Modified(optimizer), f, x)
    optimizer.vector_field(0.0, optimizer.init(x, lambda x: x), lambda x: x)  # the remedy


def test_masks_are_kept():
    def family(h):
        return optax.chain(
            optax.trace(0.9),
            optax.masked(optax.scale(3.0), {"w": True, "b": False}),
            optax.scale(-h),
        )

    start = {"b": np.array([1.0]), "w": np.array([[2.0, -1.0]])}
    optimizer = Memoryless(Optax(family, h, like=start))
    flow = jax.jit(
        lambda x: optimizer.vector_field(0.0, optimizer.init(x, lambda x: x), lambda x: x).x
    )
    np.testing.assert_allclose(flow(jnp.array([1.0, 2.0, -1.0])), [-10, -60, 30], rtol=1e-12)


def test_what_is_derived_already_is_refused():
    for optimizer in (Modified(SGD(h)), Memoryless(SGD(h))):
        with pytest.raises(InvalidValue, match="is derived already; pass its optimizer SGD"):
            Memoryless(optimizer)


@pytest.mark.usefixtures("as_users_see_it")
def test_what_is_no_optimizer_is_refused():
    with pytest.raises(
        InvalidType, match="`optimizer` must be an optimizer of dynopt such as dynopt.Momentum"
    ):
        Memoryless(0.1)


RATE, B1, B2, EPS = 0.01, 0.9, 0.99, 0.1


@cache
def adam_with_fast_mean():
    return Memoryless(Adam(RATE, B1, B2, EPS), leaves=["m"])


def test_adam_without_its_momentum_keeps_its_scale():
    """τ₂ v′ = g² - v and x′ = -g/(√v̂ + ε), v̂ = v/(1 - e^(-t/τ₂)); its limit at t = v = 0 is g²."""
    optimizer, tau = adam_with_fast_mean(), RATE / (1 - B2)

    @jax.jit
    def field(t, v):
        y = optimizer.init(x, jax.grad(f))._replace(nu=v)
        return optimizer.vector_field(t, y, jax.grad(f))

    for t in (0.0, 1e-3, 0.3, 1e6):
        v = jnp.array([0.3, 0.2]) if t else jnp.zeros(2)
        dy = field(t, v)
        corrected_v = v / (1 - np.exp(-t / tau)) if t else g**2
        np.testing.assert_allclose(dy.x, -g / (np.sqrt(corrected_v) + EPS), rtol=1e-9)
        np.testing.assert_allclose(dy.nu, (g**2 - v) / tau, rtol=1e-12)
        assert not dy.mu.any()


def test_the_lag_of_a_fast_momentum_beside_a_slow_scale(v=g**2 / 2):
    """With D = √v + ε, k = β₁/(1-β₁) and ġ = -H g/D, late in the run, one time step h adds

    h ((k + ½) ġ/D + g v′/(4 √v D²)) to x′ = -g/D, and -(h/2) (2 g ġ - v′)/τ₂ to v′.
    """
    tau, k, D = RATE / (1 - B2), B1 / (1 - B1), np.sqrt(v) + EPS
    dg, dv = -H @ (g / D), (g**2 - v) / tau

    @jax.jit
    def field(v):
        optimizer = adam_with_fast_mean()
        y = optimizer.init(x, jax.grad(f))._replace(nu=v)
        return Modified(optimizer).vector_field(LATE, y, jax.grad(f))

    dy = field(v)
    lag = (k + 1 / 2) * dg / D + g * dv / (4 * np.sqrt(v) * D**2)
    np.testing.assert_allclose((dy.x + g / D) / RATE, lag, rtol=1e-2)  # up to O(h)
    np.testing.assert_allclose((dy.nu - dv) / RATE, (dv - 2 * g * dg) / (2 * tau), rtol=1e-7)


LAM, B, TAU = 2.0, 0.5, 0.3


class TraceAndMean(eqx.Module):
    """A trace with the decay 1 - p₀ - q₀ h and then a mean with 1 - p₁ - q₁ h."""

    p: jax.Array
    q: jax.Array

    def __call__(self, h):
        trace_decay, mean_decay = 1 - self.p - self.q * h
        mean = optax.ema(mean_decay, debias=False)
        return optax.chain(optax.trace(trace_decay), mean, optax.scale(-h))


def trace_and_mean(p, q, leaves):
    family = TraceAndMean(jnp.array(p), jnp.array(q))
    return Memoryless(Optax(family, 0.01), leaves=leaves)


@cache
def linear(leaves=("trace",)):
    return trace_and_mean([1 - B, 0.0], [0.0, 1 / TAU], leaves)


def slow_eigenvalues(h):
    """(log r)/h for the two slow eigenvalues r of the map of (x, trace, mean) on λ x²/2.

    The trace takes its new value b m + λ x before the mean, and the mean takes it before x.
    """
    new_trace = np.array([LAM, B, 0])
    new_mean = h / TAU * new_trace + np.array([0, 0, 1 - h / TAU])
    r = np.linalg.eigvals(np.array([np.array([1, 0, 0]) - h * new_mean, new_trace, new_mean]))
    return np.sort_complex(np.log(r[np.argsort(abs(r))[1:]].astype(complex)) / h)


def bowl_gradient(x):
    return LAM * x


@eqx.filter_jit
def jacobian_in_slow_variables(optimizer):
    def field(z):
        y = optimizer.init(z[:1], bowl_gradient)._replace(ema=z[1:])
        dy = optimizer.vector_field(0.5, y, bowl_gradient)
        return jnp.concatenate([dy.x, dy.ema])

    return jax.jacfwd(field)(jnp.ones(2))


@pytest.mark.parametrize(("wrap", "order"), [(lambda optimizer: optimizer, 1), (Modified, 2)])
def test_on_a_quadratic_the_slow_eigenvalues_agree_to_this_order(wrap, order):
    """That of the plain flow is x″ + x′/τ + λ x/((1-b) τ) = 0, at every h."""
    errors = []
    for n in (4, 8):
        optimizer = with_dtype(wrap(linear().refine(n)), jnp.float64)
        of_flow = np.sort_complex(np.linalg.eigvals(jacobian_in_slow_variables(optimizer)))
        errors.append(abs(of_flow - slow_eigenvalues(0.01 / n)).max())
        if order == 1:
            roots = np.sort_complex(np.roots([1, 1 / TAU, LAM / (1 - B) / TAU]))
            np.testing.assert_allclose(of_flow, roots, rtol=1e-12)
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.05)


def test_the_start_of_slow_memories_is_shifted_while_the_fast_ones_fill():
    """The mean by -h λ x b/((1-b)² τ), and x not at all: its velocity is minus the mean."""
    shifted = Modified(linear()).init_flow(jnp.ones(1), bowl_gradient)
    np.testing.assert_allclose(shifted.ema / 0.01, -LAM * B / ((1 - B) ** 2 * TAU), rtol=1e-9)
    assert shifted.x == 1 and shifted.trace == 0


def test_a_map_follows_the_corrected_flow_of_its_slow_variables_to_order_two():
    """Without the correction, or without the shifted start of the mean, the error is O(h)."""
    measured = analysis.order(Modified(linear()), smooth, refinements=5)
    assert measured.expected == 2 and measured.verdict == "agrees"
    assert measured.pairwise[-1] == pytest.approx(2, abs=0.05)


def test_the_map_of_slow_and_fast_memories_is_unchanged():
    np.testing.assert_allclose(
        iterate(adam_with_fast_mean(), smooth, 5).x,
        iterate(Adam(RATE, B1, B2, EPS), smooth, 5).x,
        rtol=1e-12,
    )
    assert repr(linear()).endswith(", leaves=['trace'])")
    assert adam_with_fast_mean().fields == ("x", "mu", "nu")


def test_all_memories_by_name_are_all_memories():
    optimizer = Momentum(h, 0.9)
    named = Memoryless(optimizer, leaves=["p"])
    assert named.fast == ("trace",) and named.h == Memoryless(optimizer).h
    assert repr(named) == "Memoryless(Momentum(learning_rate=0.01, momentum=0.9), leaves=['p'])"
    velocity = named.vector_field(0.0, named.init(x, jax.grad(f)), jax.grad(f)).x
    np.testing.assert_allclose(velocity, -g / (1 - 0.9), rtol=1e-12)


def test_the_fast_memories_and_no_others_are_named():
    with pytest.raises(
        InvalidValue,
        match=r"leaf `\[1\].ema` of TraceAndMean forgets as much .* is; name it in `leaves`, too, or "
        r"make its decay 1 - h/tau\.$",
    ):
        trace_and_mean([0.5, 0.4], [0.0, 0.0], ["trace"])
    named = trace_and_mean([0.5, 0.4], [0.0, 0.0], ["trace", "ema"])  # one remedy; `linear` is two
    assert named.fast == ("trace", "ema") and named.part is None
    with pytest.raises(
        InvalidValue,
        match=r"leaf `\[1\].ema` of TraceAndMean is no fast memory, as it does not forget as much .* "
        r"is; use leaves=\['trace'\]\.$",  # as `linear` does
    ):
        linear(("ema",))
    with pytest.raises(
        InvalidValue, match="is no fast memory.* is; use the optimizer itself, whose"
    ):
        Memoryless(Optax(two_slow_means, 0.01), leaves=["ema"])
    assert not Optax(two_slow_means, 0.01).fault  # the remedy


def two_slow_means(h):
    means = (optax.ema(1 - h / tau, debias=False) for tau in (0.1, 0.2))
    return optax.chain(*means, optax.scale(-h))


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("leaves", "error", "words"),
    [
        (["mu"], UnknownName, "no memory 'mu'; did you mean m.* Known: m, v"),
        ("m", InvalidType, r"`leaves` must be a list .* got 'm'; write .* leaves=\['m'\]"),
        ([], InvalidType, r"at least one name of a memory, got \[\]; write"),
        ([0], InvalidType, r"at least one name of a memory, got \[0\]; write"),
    ],
)
def test_what_names_no_memory_is_refused(leaves, error, words):
    with pytest.raises(error, match=words):
        Memoryless(Adam(h), leaves=leaves)


def test_where_there_is_no_memory_none_can_be_named():
    with pytest.raises(InvalidValue, match="SGD.* has no memory to name; leave `leaves` out"):
        Memoryless(SGD(h), leaves=["m"])


def test_a_name_stands_for_all_leaves_below_it():
    start = {"a": jnp.ones(2), "b": jnp.ones((1, 2))}
    fitted = linear().refine(2).for_leaves(start)
    assert fitted.fields == ("x", "trace_a", "trace_b", "ema_a", "ema_b")
    assert fitted.fast == ("trace_a", "trace_b") and fitted.h == 0.005
    field = jax.jit(
        lambda x: fitted.vector_field(0.0, fitted.init(x, bowl_gradient), bowl_gradient)
    )
    np.testing.assert_allclose(field(jnp.ones(4)).ema_b, LAM / (1 - B) / TAU * np.ones((1, 2)))


def test_the_time_of_a_fast_memory_must_be_known():
    class Undeclared(Adam):
        regularity = AbstractOptimizer.regularity

    with pytest.raises(
        InvalidValue, match="does not declare the time of its memory `m`; pass a dynopt.Optax whose"
    ):
        Memoryless(Undeclared(h), leaves=["m"])


def test_an_optimizer_that_asks_for_the_loss_gets_it():
    """MoMo steps by the learning rate where that is below Polyak's: with a short h, x′ = -g."""
    optimizer = Memoryless(Optax(optax.contrib.momo, 1e-4))
    _, _, grad = flatten_loss(f, x)
    flow = jax.jit(lambda x: optimizer.vector_field(0.0, optimizer.init(x, grad), grad).x)
    np.testing.assert_allclose(flow(x), -g, rtol=1e-9)
