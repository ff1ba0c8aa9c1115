"""Each term of the modified equation raises the order of the global error by one.

Where the modified equation is known in closed form, the derived one is the same.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from losses import Bowl

from dynopt import (
    SGD,
    Adam,
    Averaged,
    Modified,
    Momentum,
    Optax,
    Problem,
    RMSprop,
    Status,
    WithGradient,
    analysis,
    integrate,
    iterate,
    problems,
)
from dynopt.derivations.expansion import accumulated_weight
from dynopt.errors import InvalidType, InvalidValue, SolverFailure
from dynopt.runs.prepare import with_dtype

f = Bowl(jnp.array([1.0, 4.0]), jnp.array(1.0))
grad, hessian = jax.jit(jax.grad(f)), jax.jit(jax.hessian(f))
smooth = Problem(f, [-1.5, 1.0], name="smooth")
himmelblau = problems.himmelblau()
optimizers = {
    "sgd": SGD(0.04),
    "momentum": Momentum(0.0016),
    "rmsprop warm": RMSprop(0.01, initial_scale=4.0),
    "rmsprop corrected": RMSprop(0.01, bias_correction=True),
    "adam": Adam(0.01),
}


@eqx.filter_jit
def _velocity(optimizer, loss, x):
    grad = jax.grad(loss)
    return optimizer.vector_field(0.0, optimizer.init(x, grad), grad).x


def velocity(optimizer, x, loss=f):
    """dx/dt at the start, with all numbers as arrays, so that one compilation serves all h."""
    return _velocity(with_dtype(optimizer, jnp.float64), loss, x)


@pytest.mark.parametrize("optimizer", optimizers.values(), ids=optimizers)
def test_the_global_error_against_the_modified_flow_is_of_order_h_squared(optimizer):
    measured = analysis.order(Modified(optimizer), smooth, refinements=6)
    assert measured.expected == 2
    assert measured.pairwise[-1] == pytest.approx(2, abs=0.05)


def test_after_one_step_the_averages_of_the_flow_are_those_of_the_map():
    """Up to O(h²), although they start from q - (h/2) q′, which is no average of gradients."""
    optimizer = optimizers["adam"]
    errors = []
    for n in (16, 32):
        fine = optimizer.refine(n)
        map, flow = iterate(fine, smooth, 10), integrate(Modified(fine), smooth, 50, rtol=1e-12)
        differences = [
            (getattr(map.y, name)[1] - getattr(flow.y, name)[1]) / weight
            for name, weight in accumulated_weight(fine, fine.h, fine.h).items()
        ]
        errors.append(max(float(jnp.abs(difference).max()) for difference in differences))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.2)


def test_the_modified_field_at_the_start_is_its_limit_at_short_times():
    """There m and v are their weights times q - (h/2) q′, with q = g for m and q = g² for v."""
    optimizer, t = with_dtype(Modified(Adam(0.01, eps=0.1)), jnp.float64), 1e-9
    x = smooth.start()
    g, change = jax.jvp(grad, (x,), (-grad(x) / (abs(grad(x)) + 0.1),))
    weights = (-np.expm1(t / 0.01 * np.log(b)) for b in (0.9, 0.999))
    m, v = (
        w * (q - 0.005 * dq)
        for w, q, dq in zip(weights, (g, g**2), (change, 2 * g * change), strict=True)
    )
    at = eqx.filter_jit(lambda t, y: optimizer.vector_field(t, y, grad).x)
    y = optimizer.init(x, grad)
    np.testing.assert_allclose(at(0.0, y), at(t, y._replace(m=m, v=v)), rtol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "rmsprop warm"])
def test_with_three_terms_the_global_error_is_of_order_h_cubed(name):
    measured = analysis.order(Modified(optimizers[name], order=3), smooth, refinements=5)
    assert measured.expected == 3
    assert measured.pairwise[-1] == pytest.approx(3, abs=0.15)


def test_the_local_error_against_the_modified_flow_is_of_order_h_cubed():
    errors = []
    for optimizer in (SGD(0.04), SGD(0.02)):
        map, flow = (
            iterate(optimizer, smooth, 10),
            integrate(Modified(optimizer), smooth, 50, rtol=1e-12),
        )
        errors.append(np.linalg.norm(map.x[1] - flow.x[1]))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(3, abs=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_the_correction_of_gradient_descent_is_half_h_times_hessian_times_gradient(seed):
    h, x = 0.1, jax.random.normal(jax.random.key(seed), (2,))
    flow = velocity(Modified(SGD(h)), x)
    np.testing.assert_allclose(flow, -grad(x) - h / 2 * hessian(x) @ grad(x), rtol=1e-13)
    np.testing.assert_allclose(flow, -regularised(x, h), rtol=1e-13)


@jax.jit
def regularised(x, h):
    """The gradient of f + (h/4)|∇f|²."""
    return jax.grad(lambda x: f(x) + h / 4 * jnp.sum(grad(x) ** 2))(x)


def test_the_second_correction_of_gradient_descent():
    """-h² ((1/12) D³f[g, g] + (1/3) H² g)."""
    h, x = 0.1, jnp.array([0.7, -0.4])
    g, H = grad(x), hessian(x)
    bent = jax.jit(lambda x, g: jax.jvp(lambda x: jax.jvp(grad, (x,), (g,))[1], (x,), (g,))[1])(
        x, g
    )
    two, three = (velocity(Modified(SGD(h), n), x) for n in (2, 3))
    np.testing.assert_allclose(three - two, -(h**2) * (bent / 12 + H @ H @ g / 3), rtol=1e-12)


def test_on_a_quadratic_the_terms_are_those_of_the_logarithm():
    """log(1 - hλ)/h = -λ - hλ²/2 - h²λ³/3 - ..."""
    h, lam = 0.1, 3.0
    bowl = Bowl(jnp.array([lam, lam]), jnp.array(0.0))
    for n in (2, 3):
        rate = velocity(Modified(SGD(h), n), jnp.ones(2), bowl)
        np.testing.assert_allclose(
            rate, -sum(h ** (j - 1) * lam**j / j for j in range(1, n + 1)), rtol=1e-13
        )


def test_the_modified_equation_of_the_heavy_ball():
    """((1+μ)/2) x″ + ((1-μ)/h) x′ + ∇f = 0 up to O(h²), with x′(0) = -(h/2) ∇f."""
    from scipy.integrate import solve_ivp

    errors = []
    for n in (1, 2, 4):
        optimizer = optimizers["momentum"].refine(n)
        h, mu = float(optimizer.h), float(optimizer.momentum)

        def field(t, z, h=h, mu=mu):
            return np.concatenate(
                [
                    z[2:],
                    -((1 - mu) / h * z[2:] + np.asarray(grad(jnp.asarray(z[:2])))) * 2 / (1 + mu),
                ]
            )

        start = np.asarray(smooth.start())
        end = 50 * n * h
        z0 = np.concatenate([start, -h / 2 * np.asarray(grad(start))])
        solution = solve_ivp(field, (0, end), z0, "DOP853", rtol=1e-10, atol=1e-12)
        position = iterate(optimizer, smooth, 200).x[50 * n]
        errors.append(np.linalg.norm(solution.y[:2, -1] - position))
    slopes = np.log2(np.divide(errors[:-1], errors[1:]))
    assert slopes[-1] == pytest.approx(2, abs=0.1)


class HalfSteps(SGD):
    """A map composed of two: two steps of half the size."""

    def step(self, t, y, grad):
        half = SGD.with_time_step(self, self.h / 2)
        return SGD.step(half, t, SGD.step(half, t, y, grad), grad)


def test_a_composed_map_has_the_modified_equation_of_its_parts():
    h, x = 0.1, jnp.array([0.7, -0.4])
    flow = velocity(Modified(HalfSteps(h)), x)
    np.testing.assert_allclose(flow, -grad(x) - h / 4 * hessian(x) @ grad(x), rtol=1e-12)


def test_rmsprop_from_zero_keeps_its_half_order():
    words = "order 0.5 because its memory starts at zero, where no series in h converges"
    with pytest.warns(UserWarning, match=words):
        assert Modified(RMSprop(0.01)).regularity.order == 0.5


@pytest.mark.parametrize(
    "make",
    [
        lambda eta: Adam(eta, b1=0.9, b2=0.99),
        lambda eta: RMSprop(eta / 2, decay=0.9, bias_correction=True),
    ],
    ids=["adam", "rmsprop"],
)
def test_where_the_correction_is_too_large_at_the_start_an_eighth_of_the_rate_is_advised(make):
    """There an average that is led back by half a step turns negative under a root."""
    with pytest.raises(SolverFailure, match="is too large there; use an eighth of the `learning_r"):
        integrate(Modified(make(0.3)), himmelblau, 10)
    assert integrate(Modified(make(0.3 / 8)), himmelblau, 10).status == Status.ok


def test_a_map_that_changes_from_step_to_step_has_no_modified_equation():
    """On f = x₀x₁ its first two steps turn; the flow of the mean map does not know it."""
    mask = jnp.array([[1.0, 0.0], [0.0, -1.0]])
    mean = jnp.array([0.5, -0.5])
    in_turns = WithGradient(SGD(0.1), lambda g, x, k: g * mask[k % 2], mean=lambda g: g * mean)
    with pytest.raises(InvalidValue, match="changes from step to step.*the mean in every step"):
        Modified(Averaged(in_turns, 1.0))
    modified = Modified(WithGradient(SGD(0.1), lambda g: g * mean))
    # F = (-½ x₁, ½ x₀), so that the correction -½ F′F is (x₀, x₁)/8.
    y = modified.vector_field(0.0, modified.init(jnp.array([1.0, 2.0]), grad), lambda x: x[::-1])
    np.testing.assert_allclose(y.x, [-1 + 0.1 / 8, 0.5 + 0.2 / 8], rtol=1e-12)


def test_the_map_is_unchanged():
    np.testing.assert_array_equal(
        iterate(Modified(Adam(0.1)), smooth, 10).x, iterate(Adam(0.1), smooth, 10).x
    )


def test_its_hyperparameters_make_it_again():
    optimizer = Modified(SGD(0.1), 3)
    assert repr(Modified(**optimizer.hyperparameters())) == repr(optimizer)


def test_refining_refines_the_inner_optimizer():
    assert repr(Modified(SGD(0.1), 3).refine(2)) == "Modified(SGD(learning_rate=0.05), order=3)"


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize("order", [4, 1, 2.5, "2"])
def test_other_orders_are_refused(order):
    with pytest.raises(
        InvalidValue,
        match=f"`order` must be 2 or 3, the orders that are derived, got {order!r}; use 2",
    ):
        Modified(SGD(0.1), order)


def test_what_is_modified_already_is_refused():
    with pytest.raises(
        InvalidValue, match="is modified already; pass its optimizer SGD.*, with order=3"
    ):
        Modified(Modified(SGD(0.1)))


def test_a_start_from_0_over_0_ends_the_series_at_order_two():
    words = "`order` is 3, but Adam.* starts from 0/0, where it is known to order 2 only"
    with pytest.raises(InvalidValue, match=f"{words}; use order=2"):
        Modified(Adam(0.1), 3)


@pytest.mark.usefixtures("as_users_see_it")
def test_what_is_no_optimizer_is_refused():
    with pytest.raises(InvalidType, match="`optimizer` must be an optimizer of dynopt such as"):
        Modified(0.1)


def test_the_modified_equation_of_nesterov_damps_along_the_hessian():
    """((1+μ)/2) x″ + ((1-μ)/h) x′ + μ h H x′ + ∇f = O(h²) for optax's Nesterov with h = √η.

    Without the term μ h H x′ it is O(h).
    """
    optimizer = Modified(
        Optax(lambda h: optax.sgd(h**2, momentum=1 - h, nesterov=True), 0.02, scale={"trace": -1})
    )

    @eqx.filter_jit
    def residuals(optimizer, x, trace):
        y = optimizer.init(x, grad)._replace(trace=trace)
        speed, turn = jax.jvp(
            lambda y: optimizer.vector_field(0.0, y, grad),
            (y,),
            (optimizer.vector_field(0.0, y, grad),),
        )
        h, mu = optimizer.h, 1 - optimizer.h
        without = (1 + mu) / 2 * turn.x + (1 - mu) / h * speed.x + grad(y.x)
        return jnp.linalg.norm(without + mu * h * hessian(y.x) @ speed.x), jnp.linalg.norm(without)

    somewhere = jax.random.normal(jax.random.key(0), (2, 2))
    coarse, fine = (
        np.array(residuals(with_dtype(optimizer.refine(n), jnp.float64), *somewhere))
        for n in (1, 2)
    )
    with_damping, without = np.log2(coarse / fine)
    assert with_damping == pytest.approx(2, abs=0.15) and without < 1.2
