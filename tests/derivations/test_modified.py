"""The modified equation raises the order of the gap by one for each term, and is the one that is known where one is known."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dynopt import SGD, Adam, Modified, Momentum, Optax, Problem, RMSprop, analysis, integrate, iterate
from dynopt.errors import InvalidType, InvalidValue


def f(x):
    return (x[0] ** 2 + 4 * x[1] ** 2) / 2 + jnp.cos(x[0]) * jnp.sin(x[1])


grad, hessian = jax.jit(jax.grad(f)), jax.jit(jax.hessian(f))
smooth = Problem(f, [-1.5, 1.0], name="smooth")
pages = {
    "sgd": SGD(0.04),
    "momentum": Momentum(0.0016),
    "rmsprop warm": RMSprop(0.01, initial_scale=4.0),
    "rmsprop corrected": RMSprop(0.01, bias_correction=True),
    "adam": Adam(0.01),
}


@pytest.mark.parametrize("page", pages.values(), ids=pages)
def test_the_gap_to_the_modified_flow_closes_like_h_squared(page):
    measured = analysis.order(Modified(page), smooth, refinements=6)
    assert measured.expected == 2
    assert measured.pairwise[-1] == pytest.approx(2, abs=0.05)


def test_after_one_step_the_averages_of_the_flow_are_those_of_the_map():
    """Up to O(h²), although q - (h/2) q′, from which they start, is no average of anything."""
    page = pages["adam"]
    errors = []
    for n in (16, 32):
        fine, flow = page.refine(n), integrate(Modified(page.refine(n)), smooth, 1, rtol=1e-12)
        map = iterate(fine, smooth, 1)
        errors.append(max(float(jnp.abs((getattr(map.y, name)[1] - getattr(flow.y, name)[1]) / w).max()) for name, w in fine.weights(fine.h, fine.h).items()))  # fmt: skip
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("name", ["sgd", "rmsprop warm"])
def test_with_three_terms_it_closes_like_h_cubed(name):
    measured = analysis.order(Modified(pages[name], order=3), smooth, refinements=5)
    assert measured.expected == 3
    assert measured.pairwise[-1] == pytest.approx(3, abs=0.15)


def test_one_step_of_the_map_misses_the_modified_flow_by_h_cubed():
    errors = [analysis.local_error(Modified(SGD(h)), smooth, 1).error[0] for h in (0.04, 0.02)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(3, abs=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_the_correction_of_gradient_descent_is_half_h_times_hessian_times_gradient(seed):
    h, x = 0.1, jax.random.normal(jax.random.key(seed), (2,))
    page = Modified(SGD(h))
    flow = page.flow(0.0, page.init(x, grad), grad).x
    np.testing.assert_allclose(flow, -grad(x) - h / 2 * hessian(x) @ grad(x), rtol=1e-13)
    regularised = jax.grad(lambda x: f(x) + h / 4 * jnp.sum(grad(x) ** 2))
    np.testing.assert_allclose(flow, -regularised(x), rtol=1e-13)


def test_the_second_correction_of_gradient_descent():
    """-h² ((1/12) D³f[g, g] + (1/3) H² g)."""
    h, x = 0.1, jnp.array([0.7, -0.4])
    g, H = grad(x), hessian(x)
    bent = jax.jvp(lambda x: jax.jvp(grad, (x,), (g,))[1], (x,), (g,))[1]
    two, three = (Modified(SGD(h), n).flow(0.0, SGD(h).init(x, grad), grad).x for n in (2, 3))
    np.testing.assert_allclose(three - two, -(h**2) * (bent / 12 + H @ H @ g / 3), rtol=1e-12)


def test_on_a_quadratic_the_terms_are_those_of_the_logarithm():
    """log(1 - hλ)/h = -λ - hλ²/2 - h²λ³/3 - ..."""
    h, lam = 0.1, 3.0
    bowl = jax.grad(lambda x: lam * jnp.sum(x**2) / 2)
    for n in (2, 3):
        rate = Modified(SGD(h), n).flow(0.0, SGD(h).init(jnp.ones(1), bowl), bowl).x[0]
        np.testing.assert_allclose(rate, -sum(h ** (j - 1) * lam**j / j for j in range(1, n + 1)), rtol=1e-13)


def test_the_modified_equation_of_the_heavy_ball():
    """((1+μ)/2) x″ + ((1-μ)/h) x′ + ∇f = 0 up to O(h²), with x′(0) = -(h/2) ∇f."""
    from scipy.integrate import solve_ivp

    errors = []
    for n in (1, 2, 4):
        page = pages["momentum"].refine(n)
        h, mu = float(page.h), float(page.momentum)

        def field(t, z, h=h, mu=mu):
            return np.concatenate(
                [z[2:], -((1 - mu) / h * z[2:] + np.asarray(grad(jnp.asarray(z[:2])))) * 2 / (1 + mu)]
            )

        start = np.asarray(smooth.start())
        end = 50 * n * h
        known = solve_ivp(field, (0, end), np.concatenate([start, -h / 2 * np.asarray(grad(start))]), "DOP853", rtol=1e-10, atol=1e-12)  # fmt: skip
        errors.append(np.linalg.norm(known.y[:2, -1] - iterate(page, smooth, 50 * n).x[-1]))
    slopes = np.log2(np.divide(errors[:-1], errors[1:]))
    assert slopes[-1] == pytest.approx(2, abs=0.1)


class HalfSteps(SGD):
    """A map composed of two: two steps of half the size."""

    def step(self, t, y, grad):
        half = SGD.at(self, self.h / 2)
        return SGD.step(half, t, SGD.step(half, t, y, grad), grad)


def test_a_composed_map_has_the_modified_equation_of_its_parts():
    h, x = 0.1, jnp.array([0.7, -0.4])
    flow = Modified(HalfSteps(h)).flow(0.0, SGD(h).init(x, grad), grad).x
    np.testing.assert_allclose(flow, -grad(x) - h / 4 * hessian(x) @ grad(x), rtol=1e-12)


def test_rmsprop_from_zero_keeps_its_half_order():
    assert Modified(RMSprop(0.01)).order == 0.5


def test_the_map_is_untouched():
    np.testing.assert_array_equal(iterate(Modified(Adam(0.1)), smooth, 10).x, iterate(Adam(0.1), smooth, 10).x)


def test_refining_refines_the_page_inside():
    assert repr(Modified(SGD(0.1), 3).refine(2)) == "Modified(SGD(learning_rate=0.05), order=3)"


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize("order", [4, 1, 2.5, "2"])
def test_other_orders_are_refused(order):
    with pytest.raises(
        InvalidValue, match=f"`order` must be 2 or 3, the orders that are derived, got {order!r}; use 2"
    ):
        Modified(SGD(0.1), order)


def test_what_is_modified_stays_as_it_is():
    with pytest.raises(InvalidValue, match="is modified already; pass its page SGD.*, with order=3"):
        Modified(Modified(SGD(0.1)))


def test_a_singular_start_ends_the_series_at_two():
    with pytest.raises(
        InvalidValue,
        match=r"`order` is 3, but Adam.* starts from 0/0, where it is known to order 2 only; use order=2",
    ):
        Modified(Adam(0.1), 3)


@pytest.mark.usefixtures("as_users_see_it")
def test_a_page_is_needed():
    with pytest.raises(InvalidType, match="`optimizer` must be a page such as"):
        Modified(0.1)


def test_the_modified_equation_of_nesterov_damps_along_the_hessian():
    """((1+μ)/2) x″ + ((1-μ)/h) x′ + μ h H x′ + ∇f = O(h²) for optax's Nesterov in the time √η; O(h) without μ h H x′."""

    def left_over(h):
        page = Optax(lambda h: optax.sgd(h**2, momentum=1 - h, nesterov=True), h, scale={"trace": -1})
        keys = jax.random.split(jax.random.key(0))
        y = page.init(jax.random.normal(keys[0], (2,)), grad)._replace(trace=jax.random.normal(keys[1], (2,)))
        field, mu = jax.jit(lambda y: Modified(page).flow(0.0, y, grad)), 1 - h
        speed, turn = jax.jvp(field, (y,), (field(y),))
        without = (1 + mu) / 2 * turn.x + (1 - mu) / h * speed.x + grad(y.x)
        return np.array([jnp.linalg.norm(without + mu * h * hessian(y.x) @ speed.x), jnp.linalg.norm(without)])

    with_it, without = np.log2(left_over(0.02) / left_over(0.01))
    assert with_it == pytest.approx(2, abs=0.15) and without < 1.2
