"""AdaGrad, AdamW, NAdam and AdaBelief: equations in numpy, conserved quantities and limits."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from losses import QUARTIC_START as start, quartic as f, quartic_gradient as numpy_grad
from reference_runs import run_map, solve_flow

from dynopt import AdaBelief, AdaGrad, Adam, AdamW, NAdam, Problem, analysis
from dynopt.optimizers.adabelief import AdaBeliefState
from dynopt.optimizers.adagrad import AdaGradState
from dynopt.optimizers.adamw import AdamWState
from dynopt.optimizers.nadam import NAdamState

grad = jax.grad(f)
m, v = np.array([0.1, -0.4]), np.array([0.5, 0.2])


def uphill(x):
    return jnp.full_like(x, 3.0)


# --- AdaGrad


def test_adagrad_map():
    x, S = start, 0.2
    for position in run_map(AdaGrad(0.1, 0.2, 1e-3), grad, start, 30).x[1:]:
        g = numpy_grad(x)
        S = S + g**2
        x = x - 0.1 * g / np.sqrt(S + 1e-3)
        np.testing.assert_allclose(position, x, rtol=1e-13)


def test_adagrad_flow_and_its_start():
    """s = η² S and e = η² ε."""
    optimizer, s = AdaGrad(0.1, 0.2, 1e-3), np.array([0.5, 0.2])
    g = numpy_grad(start)
    dy = optimizer.vector_field(0.0, AdaGradState(jnp.asarray(start), jnp.asarray(s)), grad)
    np.testing.assert_allclose(dy.s, g**2, rtol=1e-14)
    np.testing.assert_allclose(dy.x, -g / np.sqrt(s + 0.1**2 * 1e-3), rtol=1e-14)
    np.testing.assert_allclose(optimizer.init(jnp.asarray(start), grad).s, 0.1**2 * 0.2)


def test_adagrad_conserves_the_loss_and_twice_the_roots_of_its_sums():
    optimizer = AdaGrad(0.1, 4.0)
    run = solve_flow(optimizer, grad, start, np.linspace(0, 5, 20))
    conserved = jax.vmap(lambda y: optimizer.lyapunov(0.0, y, f))(run)
    np.testing.assert_allclose(conserved, conserved[0], rtol=1e-10)
    assert run.s[-1].sum() > 1.3 * run.s[0].sum()


def test_adagrad_on_a_parabola_has_a_closed_form():
    """f = λx²/2 from s(0) = 0: with w = √s and C = λx₀²/2,

    t = -(1/λ) (w/2 + (C/4) log(1 - 2w/C)) and x² = 2(C - 2w)/λ.
    """
    lam, x0 = 2.5, 1.5
    C = lam * x0**2 / 2
    assert AdaGrad(0.1, 0.0).regularity.order == 0.5
    w = np.linspace(1e-3, 0.45 * C, 12)
    t = -(w / 2 + C / 4 * np.log(1 - 2 * w / C)) / lam
    optimizer = AdaGrad(0.1, w[0] ** 2 / 0.1**2, 0.0)  # at s = 0 itself dx/dt is not finite
    run = solve_flow(optimizer, lambda x: lam * x, [np.sqrt(2 * (C - 2 * w[0]) / lam)], t - t[0])
    np.testing.assert_allclose(run.s[:, 0], w**2, rtol=1e-9)
    np.testing.assert_allclose(run.x[:, 0], np.sqrt(2 * (C - 2 * w) / lam), rtol=1e-9)


def test_with_a_constant_gradient_adagrad_moves_like_the_root_of_time():
    optimizer = AdaGrad(0.1, 0.0, 0.0)
    for t in (0.5, 2.0):
        speed = optimizer.vector_field(
            t, AdaGradState(jnp.zeros(1), jnp.array([9.0 * t])), uphill
        ).x[0]
        np.testing.assert_allclose(speed, -1 / np.sqrt(t), rtol=1e-14)  # of x = -2√t
    x = run_map(optimizer, uphill, [0.0], 50).x[:, 0]
    np.testing.assert_allclose(x[1:], -0.1 * np.cumsum(np.arange(1, 51) ** -0.5), rtol=1e-13)


def test_adagrads_error_is_proportional_to_the_square_of_its_rate():
    """s(0) = η² S₀ = 0.04 held fixed, over one unit of time."""
    time, flow = 1.0, None
    errors = []
    for eta in (0.1, 0.05, 0.025):
        optimizer = AdaGrad(eta, 0.04 / eta**2)
        flow = solve_flow(optimizer, grad, start, [0.0, time]).x[-1] if flow is None else flow
        errors.append(
            np.linalg.norm(run_map(optimizer, grad, start, round(time / eta**2)).x[-1] - flow)
        )
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 2, atol=0.1)


# --- AdamW


def test_adamw_map_and_flow():
    optimizer = AdamW(0.01, 0.9, 0.99, 1e-3, 0.02, weight_decay=0.2)
    x, mean, square = start, 0.0, 0.0
    for k, position in enumerate(run_map(optimizer, grad, start, 30).x[1:]):
        g = numpy_grad(x)
        mean, square = 0.9 * mean + 0.1 * g, 0.99 * square + 0.01 * g**2
        m_hat, v_hat = mean / (1 - 0.9 ** (k + 1)), square / (1 - 0.99 ** (k + 1))
        x = x - 0.01 * (m_hat / (np.sqrt(v_hat + 0.02) + 1e-3) + 0.2 * x)
        np.testing.assert_allclose(position, x, rtol=1e-12)
    y = AdamWState(*map(jnp.asarray, (start, m, v)))
    dy = optimizer.vector_field(0.07, y, grad)
    adam = Adam(0.01, 0.9, 0.99, 1e-3, 0.02).vector_field(0.07, y, grad)
    np.testing.assert_allclose(dy.x, adam.x - 0.2 * start, rtol=1e-14)
    np.testing.assert_array_equal(np.stack(dy[1:]), np.stack(adam[1:]))


@pytest.mark.parametrize("decay", [0.1, 5.0])
def test_adamw_with_a_constant_gradient_tends_to_one_over_its_decay(decay):
    """xₖ = (x₀ + s/λ)(1-ηλ)ᵏ - s/λ; the flow has e^(-λt) for (1-ηλ)ᵏ."""
    optimizer, eta = AdamW(0.01, eps=0.0, weight_decay=decay), 0.01
    x = run_map(optimizer, uphill, [0.7], 500).x[:, 0]
    k = np.arange(501)
    np.testing.assert_allclose(
        x, (0.7 + 1 / decay) * (1 - eta * decay) ** k - 1 / decay, rtol=1e-12, atol=1e-13
    )
    t = np.linspace(0, 5, 11)
    flow = solve_flow(optimizer, uphill, [0.7], t).x[:, 0]
    np.testing.assert_allclose(flow, (0.7 + 1 / decay) * np.exp(-decay * t) - 1 / decay, rtol=1e-9)
    assert np.abs(x[-1]) <= 1 / decay


def test_the_equilibrium_of_adamw_balances_decay_and_adam_and_is_no_zero_of_the_gradient():
    optimizer = AdamW(0.01, weight_decay=0.5)
    y = jax.tree.map(lambda a: a[-1], run_map(optimizer, grad, start, 5000))
    m_hat, v_hat = np.asarray(y.m), np.asarray(y.v) / (1 - 0.999**5000)
    np.testing.assert_allclose(m_hat / (np.sqrt(v_hat) + 1e-8), -0.5 * y.x, atol=0.02)


# --- NAdam


def test_nadam_map_and_flow():
    optimizer = NAdam(0.01, 0.9, 0.99, 1e-3, 0.02)
    x, mean, square = start, 0.0, 0.0
    for k, position in enumerate(run_map(optimizer, grad, start, 30).x[1:]):
        g = numpy_grad(x)
        mean, square = 0.9 * mean + 0.1 * g, 0.99 * square + 0.01 * g**2
        m_hat = 0.9 * mean / (1 - 0.9 ** (k + 2)) + 0.1 * g / (1 - 0.9 ** (k + 1))
        x = x - 0.01 * m_hat / (np.sqrt(square / (1 - 0.99 ** (k + 1)) + 0.02) + 1e-3)
        np.testing.assert_allclose(position, x, rtol=1e-12)
    y = NAdamState(*map(jnp.asarray, (start, m, v)))
    np.testing.assert_array_equal(
        np.stack(optimizer.vector_field(0.07, y, grad)),
        np.stack(Adam(0.01, 0.9, 0.99, 1e-3, 0.02).vector_field(0.07, y, grad)),
    )


def test_for_a_long_memory_the_kth_step_of_nadam_is_longer_by_one_over_k_times_k_plus_one():
    """Under a constant gradient and without ε; all of it together makes one step."""
    lengths = -np.diff(run_map(NAdam(1.0, b1=1 - 1e-7, eps=0.0), uphill, [0.0], 200).x[:, 0])
    k = np.arange(1, 201)
    np.testing.assert_allclose(lengths - 1, 1 / (k * (k + 1)), rtol=1e-3)
    assert (lengths - 1).sum() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("eps_root", [0.0, 0.02])
def test_nadam_has_the_lyapunov_function_of_adam(eps_root):
    adam, nadam = Adam(0.01, eps_root=eps_root), NAdam(0.01, eps_root=eps_root)
    y = NAdamState(*map(jnp.asarray, (start, m, v)))
    assert nadam.lyapunov(0.3, y, f) == adam.lyapunov(0.3, y, f)


# --- AdaBelief


def test_adabelief_map_and_flow():
    optimizer = AdaBelief(0.01, 0.9, 0.99, 1e-3, 1e-4)
    x, mean, spread = start, 0.0, 0.0
    for k, position in enumerate(run_map(optimizer, grad, start, 30).x[1:]):
        g = numpy_grad(x)
        mean = 0.9 * mean + 0.1 * g
        spread = 0.99 * spread + 0.01 * (g - mean) ** 2 + 1e-4
        x = x - 0.01 * mean / (1 - 0.9 ** (k + 1)) / (
            np.sqrt(spread / (1 - 0.99 ** (k + 1))) + 1e-3
        )
        np.testing.assert_allclose(position, x, rtol=1e-11)
    g, t = numpy_grad(start), 0.07
    tau1, tau2, floor = 0.01 / 0.1, 0.01 / 0.01, 1e-4 / 0.01
    dy = optimizer.vector_field(t, AdaBeliefState(*map(jnp.asarray, (start, m, v))), grad)
    np.testing.assert_allclose(dy.m, (g - m) / tau1, rtol=1e-12)
    np.testing.assert_allclose(dy.v, ((g - m) ** 2 + floor - v) / tau2, rtol=1e-12)
    m_hat, v_hat = m / (1 - np.exp(-t / tau1)), v / (1 - np.exp(-t / tau2))
    np.testing.assert_allclose(dy.x, -m_hat / (np.sqrt(v_hat) + 1e-3), rtol=1e-12)


def test_adabelief_flow_at_zero_is_its_limit():
    optimizer, g = AdaBelief(0.01, eps_root=1e-6), numpy_grad(start)
    first = optimizer.vector_field(0.0, optimizer.init(jnp.asarray(start), grad), grad)
    np.testing.assert_allclose(first.x, -g / np.sqrt(g**2 + 1e-3), rtol=1e-12)
    t = 1e-9
    y = AdaBeliefState(jnp.asarray(start), *(jnp.asarray(d * t) for d in (first.m, first.v)))
    np.testing.assert_allclose(optimizer.vector_field(t, y, grad).x, first.x, rtol=1e-6)


def test_where_gradients_are_constant_the_steps_of_adabelief_grow_three_millionfold():
    """v fades to e = ε₀/(1-β₂), and steps become η |g|/(√e + ε)."""
    optimizer = AdaBelief(1.0)
    end = jax.tree.map(lambda a: a[-2:, 0], run_map(optimizer, uphill, [0.0], 60_000))
    assert float(end.v[-1]) == pytest.approx(1e-13, rel=1e-6)
    np.testing.assert_allclose(end.x[0] - end.x[1], 3.0 * 3.16e6, rtol=1e-2)


# --- the textbook failure


def test_adam_tends_to_the_worst_point_and_amsgrad_to_the_best():
    """Reddi, Kale and Kumar (2018): the gradients are C, -1, -1 in turn on [-1, 1].

    C = 4, β₁ = 0, β₂ = 1/(1+C²), and the learning rate is η/√k.
    """
    optimizer, twin = Adam(1.0, 0.0, 1 / 17, eps=1e-12), optax.amsgrad(1.0, 0.0, 1 / 17, eps=1e-12)

    @jax.jit
    def run():
        def one_step(carry, k):
            y, x, state = carry
            g = jnp.where(k % 3 == 1, 4.0, -1.0)
            y_next = optimizer.step((k - 1.0), y, lambda x: jnp.full_like(x, g))
            update, state = twin.update(jnp.full_like(x, g), state, x)
            clipped = jnp.clip(y.x + (y_next.x - y.x) / jnp.sqrt(k), -1, 1)
            x = jnp.clip(x + update / jnp.sqrt(k), -1, 1)
            return (y_next._replace(x=clipped), x, state), None

        zero = jnp.zeros(1)
        starts = optimizer.init(zero, uphill), zero, twin.init(zero)
        (y, x, _), _ = jax.lax.scan(one_step, starts, jnp.arange(1, 20_001) * 1.0)
        return y.x[0], x[0]

    adam, amsgrad = run()
    assert float(adam) == pytest.approx(1, abs=0.01)
    assert float(amsgrad) == pytest.approx(-1, abs=0.02)


def test_a_memory_that_starts_far_below_the_gradient_costs_adagrad_half_its_order():
    """With S₀ = 0.1 and gradients of 10, h is not far below s(0)/g² in any of eight refinements."""
    booth = Problem(
        lambda x: (x[0] + 2 * x[1] - 7) ** 2 + (2 * x[0] + x[1] - 5) ** 2, [-8.0, 7.0], name="booth"
    )
    with pytest.warns(UserWarning, match="declared order is 1: a memory that starts near 0"):
        measured = analysis.order(AdaGrad(0.001), booth)
    assert measured.pairwise[0] == pytest.approx(0.5, abs=0.05)
