"""SGD, Momentum, RMSprop and Adam: their equations in numpy, held against the code."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from losses import QUARTIC_START as start, quartic as f, quartic_gradient as numpy_grad
from reference_runs import run_map, solve_flow

from dynopt import SGD, Adam, AdamW, Momentum, NAdam, Problem, RMSprop, analysis, iterate
from dynopt.optimizers.adam import AdamState
from dynopt.optimizers.averages import bias_corrected, safe_divide, safe_sqrt
from dynopt.optimizers.rmsprop import RMSpropState

grad = jax.grad(f)
problem = Problem(f, start, name="quartic")


def path(optimizer, steps=30):
    return np.asarray(iterate(optimizer, problem, steps).x)


def lyapunov_rate(optimizer, t, y):
    return jax.jvp(
        lambda t, y: optimizer.lyapunov(t, y, f), (t, y), (1.0, optimizer.vector_field(t, y, grad))
    )[1]


# --- SGD


def test_sgd_map():
    x = start
    for position in path(SGD(0.1))[1:]:
        x = x - 0.1 * numpy_grad(x)
        np.testing.assert_allclose(position, x, rtol=1e-13)


def test_sgd_flow_is_minus_the_gradient():
    optimizer = SGD(0.1)
    np.testing.assert_allclose(
        optimizer.vector_field(0.0, optimizer.init(start, grad), grad).x,
        -numpy_grad(start),
        rtol=1e-15,
    )


def test_the_error_of_one_step_of_sgd_is_half_h_squared_times_the_acceleration():
    """(h²/2) |x″| = (h²/2) |∇²f ∇f|."""
    h = 1e-4
    error = analysis.local_error(SGD(h), problem, 1).error[0]
    acceleration = np.linalg.norm(
        np.asarray(jax.hessian(f)(jnp.asarray(start))) @ numpy_grad(start)
    )
    np.testing.assert_allclose(error, h**2 / 2 * acceleration, rtol=2e-3)


@pytest.mark.parametrize("h", [0.1, 0.9])
def test_one_step_of_sgd_on_a_quadratic_changes_the_loss_by_each_eigenvector_in_its_own_way(h):
    """-h Σ (1 - hλ/2) gᵢ²; at hλ = 2.7 a start off the flat axis rises, and one on it falls."""
    curvatures = np.array([1.0, 3.0])
    for x in ([2.0, 1.0], [2.0, 0.0], [0.0, 1.0]):
        bowl = Problem(lambda x: jnp.asarray(curvatures) @ x**2 / 2, x, name="bowl")
        change = float(np.diff(iterate(SGD(h), bowl, 1).loss)[0])
        g = curvatures * x
        assert change == pytest.approx(-h * np.sum((1 - h * curvatures / 2) * g**2), rel=1e-12)
        assert (change > 0) == (h == 0.9 and x != [2.0, 0.0] and x[1] > 0)


def test_the_loss_falls_at_the_squared_gradient_along_the_flow_of_sgd():
    optimizer = SGD(0.1)
    np.testing.assert_allclose(
        lyapunov_rate(optimizer, 0.0, optimizer.init(jnp.asarray(start), grad)),
        -np.sum(numpy_grad(start) ** 2),
    )


@pytest.mark.parametrize(("h", "falls"), [(0.199, True), (0.201, False)])
def test_sgd_lowers_a_quadratic_while_h_lambda_is_below_two(h, falls):
    bowl = Problem(lambda x: 10 * (x**2).sum() / 2, [1.0], name="bowl")
    loss = np.asarray(iterate(SGD(h), bowl, 20).loss)
    assert (np.diff(loss) < 0).all() == falls


# --- Momentum


def test_momentum_map():
    lr, mu = 0.01, 0.8
    x, p, h = start, 0.0, np.sqrt(lr)
    for position in path(Momentum(lr, mu))[1:]:
        p = mu * p - h * numpy_grad(x)
        x = x + h * p
        np.testing.assert_allclose(position, x, rtol=1e-13)


def test_momentum_flow_is_a_damped_mass():
    """x″ + a x′ + ∇f(x) = 0 with a = (1-μ)/h and h = √η."""
    optimizer = Momentum(0.01, 0.8)
    y = optimizer.init(jnp.asarray(start), grad)._replace(p=jnp.array([0.3, -0.2]))
    dy = optimizer.vector_field(0.0, y, grad)
    np.testing.assert_allclose(dy.x, y.p)
    np.testing.assert_allclose(dy.p, -(1 - 0.8) / 0.1 * y.p - numpy_grad(start), rtol=1e-14)


def test_friction_drains_the_mechanical_energy_of_momentum():
    optimizer = Momentum(0.01, 0.8)
    y = optimizer.init(jnp.asarray(start), grad)._replace(p=jnp.array([0.3, -0.2]))
    np.testing.assert_allclose(
        lyapunov_rate(optimizer, 0.0, y),
        -optimizer.friction * np.sum(np.asarray(y.p) ** 2),
        rtol=1e-13,
    )


def test_velocity_is_the_central_difference_at_half_steps():
    run = iterate(Momentum(0.01, 0.8), problem, 20)
    np.testing.assert_allclose(run.y.p[1:], np.diff(run.x, axis=0) / 0.1, rtol=1e-11, atol=1e-14)


def test_the_trace_of_optax_is_minus_the_velocity_over_h():
    optimizer = Momentum(0.01, 0.8)
    twin = optimizer.optax()
    x, state, y = jnp.asarray(start), None, optimizer.init(jnp.asarray(start), grad)
    state = twin.init(x)
    for k in range(5):
        update, state = twin.update(grad(x), state)
        x, y = x + update, optimizer.step(k * optimizer.h, y, grad)
        np.testing.assert_allclose(jax.tree.leaves(state)[0], -y.p / optimizer.h, rtol=1e-13)


def test_an_average_is_the_same_map_with_another_rate():
    """m ← μ m + (1-μ) g, x ← x - η m  equals heavy ball with learning rate η (1-μ)."""
    eta, mu = 0.05, 0.8
    x, m = start, 0.0
    for position in path(Momentum(eta * (1 - mu), mu))[1:]:
        m = mu * m + (1 - mu) * numpy_grad(x)
        x = x - eta * m
        np.testing.assert_allclose(position, x, rtol=1e-12)


def test_momentum_at_fixed_mu_tends_to_a_faster_gradient_flow():
    """η → 0 with μ = 0.9 fixed: the gradient flow, sped up by 1/(1-μ); errors halve with η."""
    bowl = Problem(lambda x: jnp.sum(jnp.array([1.0, 3.0]) * x**2) / 2, [1.0, 1.0], name="bowl")
    exact = np.exp(-np.array([1.0, 3.0]))
    errors = [
        np.linalg.norm(iterate(Momentum(0.1 / n, 0.9), bowl, n).x[-1] - exact)
        for n in (800, 1600, 3200)
    ]
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 1, atol=0.05)


# --- RMSprop


@pytest.mark.parametrize("corrected", [False, True])
def test_rmsprop_map(corrected):
    lr, rho, eps = 0.01, 0.9, 1e-8
    x, v = start, 0.0
    for k, position in enumerate(path(RMSprop(lr, rho, eps, bias_correction=corrected), 10)[1:]):
        g = numpy_grad(x)
        v = rho * v + (1 - rho) * g**2
        v_hat = v / (1 - rho ** (k + 1)) if corrected else v
        x = x - lr * g / np.sqrt(v_hat + eps)
        np.testing.assert_allclose(position, x, rtol=1e-12)


@pytest.mark.parametrize("corrected", [False, True])
def test_rmsprop_flow(corrected):
    optimizer = RMSprop(0.01, 0.9, 1e-3, bias_correction=corrected)
    g, v, t, tau = numpy_grad(start), np.array([0.5, 0.2]), 0.07, 0.01 / (1 - 0.9)
    dy = optimizer.vector_field(t, RMSpropState(jnp.asarray(start), jnp.asarray(v)), grad)
    v_hat = v / (1 - np.exp(-t / tau)) if corrected else v
    np.testing.assert_allclose(dy.v, (g**2 - v) / tau, rtol=1e-13)
    np.testing.assert_allclose(dy.x, -g / np.sqrt(v_hat + 1e-3), rtol=1e-13)


def test_corrected_rmsprop_flow_starts_as_if_v_were_g_squared():
    optimizer = RMSprop(0.01, 0.9, 1e-3, bias_correction=True)
    g = numpy_grad(start)
    np.testing.assert_allclose(
        optimizer.vector_field(0.0, optimizer.init(jnp.asarray(start), grad), grad).x,
        -g / np.sqrt(g**2 + 1e-3),
    )


def test_rmsprop_first_step_is_eta_over_the_root_of_one_minus_rho():
    for rho, ratio in ((0.9, 3.1623), (0.999, 31.623)):
        step = path(RMSprop(1e-3, rho, eps=0.0), 1)[1] - start
        np.testing.assert_allclose(np.abs(step) / 1e-3, ratio, rtol=1e-4)


def test_rmsprop_flow_from_zero_starts_as_the_root_of_tau_over_t():
    """Constant gradient: v = g² (1 - e^(-t/τ)), so |x′| → √(τ/t)."""
    optimizer, t = RMSprop(0.01, eps=0.0), 1e-6
    v = 4.0 * (1 - np.exp(-t / optimizer.tau))
    speed = -optimizer.vector_field(
        t, RMSpropState(jnp.zeros(1), jnp.array([v])), lambda x: jnp.array([2.0])
    ).x
    np.testing.assert_allclose(speed, np.sqrt(optimizer.tau / t), rtol=1e-4)


@pytest.mark.parametrize("corrected", [False, True])
def test_the_lyapunov_function_of_rmsprop_falls_at_the_rate_of_its_docstring(corrected):
    """-Σ v/√(v + ε), or -Σ g²/√(v̂ + ε) for the loss alone under bias correction."""
    optimizer, t = RMSprop(0.01, 0.9, 1e-3, bias_correction=corrected), 0.07
    v, g = np.array([0.5, 0.2]), numpy_grad(start)
    rate = lyapunov_rate(optimizer, t, RMSpropState(jnp.asarray(start), jnp.asarray(v)))
    v_hat = v / (1 - np.exp(-t / optimizer.tau))
    expected = (
        -np.sum(g**2 / np.sqrt(v_hat + 1e-3)) if corrected else -np.sum(v / np.sqrt(v + 1e-3))
    )
    np.testing.assert_allclose(rate, expected, rtol=1e-12)


def test_rmsprop_from_zero_has_order_one_once_h_is_far_below_eps_tau_over_g_squared():
    optimizer = RMSprop(0.01, eps=1.0)
    assert optimizer.h < optimizer.eps * optimizer.tau / np.max(numpy_grad(start) ** 2)
    with pytest.warns(
        UserWarning, match="nearer to its flow here than declared, which is no fault"
    ):
        measured = analysis.order(optimizer, problem)
    assert abs(measured.pairwise[-1] - 1) < 0.02


# --- Adam


@pytest.mark.parametrize("eps_root", [0.0, 0.02])
def test_adam_map(eps_root):
    lr, b1, b2, eps = 0.01, 0.9, 0.99, 1e-8
    x, m, v = start, 0.0, 0.0
    for k, position in enumerate(path(Adam(lr, b1, b2, eps, eps_root))[1:]):
        g = numpy_grad(x)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        m_hat, v_hat = m / (1 - b1 ** (k + 1)), v / (1 - b2 ** (k + 1))
        x = x - lr * m_hat / (np.sqrt(v_hat + eps_root) + eps)
        np.testing.assert_allclose(position, x, rtol=1e-12)


@pytest.mark.parametrize("kind", [Adam, AdamW, NAdam])
def test_the_map_is_that_of_optax_with_a_number_inside_the_root(kind, library_path):
    optimizer = kind(0.01, 0.9, 0.99, 1e-3, 0.02)
    twin = library_path(optimizer.optax(), grad, jnp.asarray(start), 30)
    np.testing.assert_allclose(path(optimizer)[1:], np.stack(twin), rtol=1e-13)


@pytest.mark.parametrize("eps_root", [0.0, 0.02])
def test_adam_flow(eps_root):
    optimizer, t = Adam(0.01, 0.9, 0.99, 1e-3, eps_root), 0.07
    g, m, v = numpy_grad(start), np.array([0.1, -0.4]), np.array([0.5, 0.2])
    tau1, tau2 = 0.01 / (1 - 0.9), 0.01 / (1 - 0.99)
    dy = optimizer.vector_field(t, AdamState(*map(jnp.asarray, (start, m, v))), grad)
    m_hat, v_hat = m / (1 - np.exp(-t / tau1)), v / (1 - np.exp(-t / tau2))
    np.testing.assert_allclose(dy.m, (g - m) / tau1, rtol=1e-13)
    np.testing.assert_allclose(dy.v, (g**2 - v) / tau2, rtol=1e-12)
    np.testing.assert_allclose(dy.x, -m_hat / (np.sqrt(v_hat + eps_root) + 1e-3), rtol=1e-13)


@pytest.mark.parametrize("eps_root", [0.0, 0.02])
def test_adam_flow_at_zero_is_its_limit(eps_root):
    """m̂ → g and v̂ → g², so x′ → -g/(√(g² + ε₀) + ε), from the right as at 0 itself."""
    optimizer, g = Adam(0.01, eps=1e-3, eps_root=eps_root), numpy_grad(start)
    limit = -g / (np.sqrt(g**2 + eps_root) + 1e-3)
    np.testing.assert_allclose(
        optimizer.vector_field(0.0, optimizer.init(jnp.asarray(start), grad), grad).x,
        limit,
        rtol=1e-15,
    )
    for t in (1e-12, 1e-9, 1e-6):
        y = AdamState(
            jnp.asarray(start),
            jnp.asarray(g * t / optimizer.tau1),
            jnp.asarray(g**2 * t / optimizer.tau2),
        )
        np.testing.assert_allclose(optimizer.vector_field(t, y, grad).x, limit, rtol=20 * t + 1e-12)


def test_adam_first_step_is_eta_in_every_coordinate():
    np.testing.assert_allclose(
        path(Adam(0.01, eps=0.0), 1)[1] - start, -0.01 * np.sign(numpy_grad(start)), rtol=1e-13
    )


def test_adam_at_fixed_betas_tends_to_the_sign_like_flow():
    """h → 0 with β₁, β₂ held: x′ = -g/(|g| + ε); errors halve with h."""
    bowl = Problem(lambda x: jnp.sum(x**2) / 2, [1.0], name="bowl")
    # with g = x and ε = 1 the limit solves log x + x = 1 - t from x(0) = 1
    from scipy.special import lambertw

    exact = float(np.real(lambertw(np.exp(1 - 0.5))))
    errors = [
        abs(float(iterate(Adam(0.5 / n, 0.9, 0.99, eps=1.0), bowl, n).x[-1, 0]) - exact)
        for n in (2000, 4000, 8000)
    ]
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 1, atol=0.1)


@pytest.mark.parametrize("eps_root", [0.0, 0.02])
def test_the_lyapunov_function_of_adam_changes_at_the_rate_of_its_docstring(eps_root):
    """-Σ (m m̂/D) (1 + τ₁/2 (w₁′/w₁ + D′/D)) with D = √(v̂ + ε₀) + ε, where τ₂ w₂ v̂′ = g² - v̂."""
    optimizer, eps = Adam(0.01, b1=0.95, b2=0.8, eps=1e-3, eps_root=eps_root), 1e-3
    tau1, tau2, g = 0.01 / 0.05, 0.01 / 0.2, numpy_grad(start)
    for seed in range(20):
        m, v = np.random.default_rng(seed).uniform([[-1, -1], [0, 0]], [[1, 1], [1, 1]])
        t = 0.02 * (seed + 1)
        w1, w2 = 1 - np.exp(-t / tau1), 1 - np.exp(-t / tau2)
        m_hat, v_hat = m / w1, v / w2
        root = np.sqrt(v_hat + eps_root)
        log_D_rate = (g**2 - v_hat) / (tau2 * w2) / (2 * root) / (root + eps)
        log_w1_rate = np.exp(-t / tau1) / tau1 / w1
        factor = 1 + tau1 / 2 * (log_w1_rate + log_D_rate)
        y = AdamState(*map(jnp.asarray, (start, m, v)))
        np.testing.assert_allclose(
            lyapunov_rate(optimizer, t, y), -np.sum(m * m_hat / (root + eps) * factor), rtol=1e-10
        )
        assert (log_D_rate >= -1 / (2 * tau2 * w2)).all()
        assert (factor >= 0).all()  # since τ₁ = 4 τ₂


@pytest.mark.parametrize("eps_root", [0.0, 0.02])
def test_the_lyapunov_function_of_adam_never_rises_while_tau1_is_at_most_four_tau2(eps_root):
    """At the limit τ₁ = 4 τ₂, along a flow on which the loss rises."""
    optimizer = Adam(0.01, b1=0.95, b2=0.8, eps_root=eps_root)
    assert optimizer.tau1 == pytest.approx(4 * optimizer.tau2)
    t = np.linspace(0, 4, 401)
    flow = solve_flow(optimizer, grad, start, t, tol=1e-11)
    values = jax.vmap(lambda t, y: optimizer.lyapunov(t, y, f))(jnp.asarray(t), flow)
    assert (np.diff(values) < 1e-9).all()
    assert (np.diff(jax.vmap(f)(flow.x)) > 1e-6).any()


def test_that_condition_is_enough_at_every_time():
    """1 + 1/(2(eˢ - 1)) > (r/4)/(1 - e^(-rs)) for r ≤ 4, and the last term rises in r."""
    s, r = np.meshgrid(np.geomspace(1e-6, 30, 200), np.linspace(0.01, 4, 100))
    last = r / 4 / -np.expm1(-r * s)
    assert (1 + 1 / (2 * np.expm1(s)) > last).all() and (np.diff(last, axis=0) > -1e-12).all()


@pytest.mark.parametrize("ratio", [3.96, 4.04])
def test_that_condition_is_sharp_where_the_gradient_stays_zero(ratio):
    """Late, at ε = 0, the rate tends to -(m²/√v) (1 - r/4) with r = τ₁/τ₂."""
    optimizer = Adam(0.001, b1=1 - 0.01 / ratio, b2=0.99, eps=0.0)
    y = AdamState(jnp.zeros(2), jnp.array([1.0, -2.0]), jnp.array([1.0, 4.0]))
    rate = float(lyapunov_rate(optimizer, 50.0, y))
    assert rate == pytest.approx(-(1 + 2) * (1 - ratio / 4), rel=1e-9)


def test_the_lyapunov_function_of_adam_may_rise_beyond_that_condition():
    optimizer = Adam(0.001, b1=0.99, b2=0.6)  # tau1 = 40 tau2
    rates = []
    for scale in np.logspace(-2, 2, 41):
        y = AdamState(
            jnp.asarray(start), jnp.array([1.0, 1.0]) * scale, jnp.array([1.0, 1.0]) * scale**2
        )
        rates.append(float(lyapunov_rate(optimizer, 5.0, y)))
    assert max(rates) > 0


def test_derivatives_through_adam_are_finite_where_those_of_optax_are_nan():
    """In a coordinate whose gradient is zero, while ε₀ = 0."""

    def grad(x):
        return jnp.stack([x[0], 0 * x[1]])

    def by_optax(rate, eps_root):
        twin, x = optax.adam(rate, eps_root=eps_root), jnp.ones(2)
        state = twin.init(x)
        for _ in range(2):
            update, state = twin.update(grad(x), state)
            x = x + update
        return x.sum()

    def by_dynopt(rate):
        return run_map(Adam(rate), grad, jnp.ones(2), 2).x[-1].sum()

    assert np.isnan(jax.grad(by_optax)(0.01, 0.0))
    np.testing.assert_allclose(jax.grad(by_optax)(0.01, 1e-8), -2, rtol=1e-2)
    np.testing.assert_allclose(jax.grad(by_dynopt)(0.01), -2, rtol=1e-2)


def test_adam_is_corrected_rmsprop_when_b1_is_zero_and_eps_is_zero():
    ours = path(Adam(0.01, b1=0.0, b2=0.9, eps=0.0), 10)
    np.testing.assert_allclose(
        ours, path(RMSprop(0.01, 0.9, eps=0.0, bias_correction=True), 10), rtol=1e-14
    )


def test_adam_without_memory_is_sign_descent():
    x = path(Adam(0.01, b1=0.0, b2=0.0, eps=0.0), 8)
    signs = np.sign([numpy_grad(point) for point in x[:-1]])
    np.testing.assert_allclose(np.diff(x, axis=0), -0.01 * signs, rtol=1e-12)


def test_momentum_zero_is_sgd():
    np.testing.assert_allclose(path(Momentum(0.01, 0.0)), path(SGD(0.01)), rtol=1e-13)


# --- what they share


def test_the_weight_of_an_average_is_one_minus_beta_to_the_k():
    h, tau = 0.1, 1.0
    for k in (1, 2, 10, 100):
        corrected = bias_corrected(jnp.array(1.0), jnp.array(7.0), k * h, h, tau)
        np.testing.assert_allclose(corrected, 1 / (1 - (1 - h / tau) ** k), rtol=1e-13)


@pytest.mark.parametrize("h", [1e-3, 9.99e-3, 1.001e-2, 0.2])
def test_the_weight_is_smooth_across_its_series(h):
    """Below u = 0.01 a series for -log(1-u)/u is summed; it agrees with log1p to an ulp or two."""
    corrected = bias_corrected(jnp.array(1.0), jnp.array(7.0), 0.5, h, 1.0)
    np.testing.assert_allclose(corrected, 1 / -np.expm1(0.5 * np.log1p(-h) / h), rtol=4e-15)


def test_memory_as_short_as_a_step_forgets_everything():
    np.testing.assert_allclose(bias_corrected(jnp.array(3.0), jnp.array(7.0), 0.1, 0.1, 0.1), 3.0)


def test_a_quotient_and_a_root_at_zero_are_zero_with_derivatives_of_zero():
    v = jnp.array([0.0, 4.0])
    np.testing.assert_array_equal(safe_sqrt(v), [0, 2])
    np.testing.assert_array_equal(jax.vmap(jax.grad(safe_sqrt))(v), [0, 0.25])
    np.testing.assert_array_equal(safe_divide(v, v), [0, 1])
    np.testing.assert_array_equal(jax.vmap(jax.grad(lambda v: safe_divide(v, v)))(v), [0, 0])


def test_zero_over_zero_is_zero_when_eps_is_zero():
    flat = Problem(lambda x: x[0] ** 2 + 0 * x[1], [1.0, 5.0], name="trough")
    for optimizer in (Adam(0.1, eps=0.0), RMSprop(0.1, eps=0.0)):
        assert (np.asarray(iterate(optimizer, flat, 5).x)[:, 1] == 5.0).all()


@pytest.mark.parametrize(
    "optimizer",
    [SGD(0.05), Momentum(0.01), RMSprop(0.01, eps=1e-3)],
    ids=["sgd", "momentum", "rmsprop"],
)
def test_the_map_is_the_semi_implicit_euler_step_of_the_flow(optimizer):
    """Euler's step for the memory, then for the position with the new memory."""
    y = optimizer.init(jnp.asarray(start), grad)
    for k in range(20):
        memory = [
            m + optimizer.h * d
            for m, d in zip(
                y[1:], optimizer.vector_field(k * optimizer.h, y, grad)[1:], strict=True
            )
        ]
        between = type(y)(y.x, *memory)
        x = y.x + optimizer.h * optimizer.vector_field(k * optimizer.h, between, grad).x
        y = optimizer.step(k * optimizer.h, y, grad)
        np.testing.assert_allclose(y.x, x, rtol=1e-14)
