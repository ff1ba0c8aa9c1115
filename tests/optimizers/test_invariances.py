"""Symmetries of optimizers, and one that Adam and RMSprop do not have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from reference_runs import run_map

from dynopt import Adam, Momentum, Muon, Problem, RMSprop
from dynopt.optimizers import catalogue
from dynopt.runs.iterate import iterate

settings.register_profile(
    "theorems", deadline=None, derandomize=True, max_examples=25, database=None
)
settings.load_profile("theorems")

STEPS = 20
A = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 3.0]])
numbers = st.floats(0.1, 2.0, allow_subnormal=False)
starts = st.tuples(numbers, numbers, numbers)
elementwise = [name for name, cls in catalogue.items() if cls(0.01).elementwise]
names = pytest.mark.parametrize("name", elementwise)


def loss(x, M, s, c, b):
    """f(x) = c [(Mx + s)ᵀ A (Mx + s)/2 + Σ cos(Mx + s)] + b, with data as arguments."""
    u = M @ x + s
    return c * (u @ jnp.asarray(A) @ u / 2 + jnp.sum(jnp.cos(u))) + b


def make(name, eps=1e-8, rate=0.01):
    return catalogue[name](rate, **({"eps": eps} if name in ("rmsprop", "adam") else {}))


@jax.jit
def _path(optimizer, x, M, s, c, b):
    def grad(x):
        return jax.grad(loss)(x, M, s, c, b)

    def one_step(y, k):
        y = optimizer.step(k * optimizer.h, y, grad)
        return y, y.x

    return jax.lax.scan(one_step, optimizer.init(x, grad), jnp.arange(STEPS))[1]


def path(optimizer, x, M=None, s=0.0, c=1.0, b=0.0):
    arrays = jax.tree.map(jnp.asarray, optimizer)
    M = jnp.eye(3) if M is None else jnp.asarray(M)
    return np.asarray(_path(arrays, jnp.asarray(x), M, jnp.full(3, s), c, b))


@names
@given(x=starts, signs=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
def test_flipping_a_coordinate_flips_its_path_bit_by_bit(name, x, signs):
    D = np.diag(signs)
    np.testing.assert_array_equal(path(make(name), D @ np.array(x), D), path(make(name), x) @ D)


@names
@given(x=starts, order=st.permutations(range(3)))
def test_permuting_coordinates_permutes_the_path(name, x, order):
    P = np.eye(3)[list(order)]
    np.testing.assert_allclose(
        path(make(name), P @ np.array(x), P.T), path(make(name), x) @ P.T, rtol=1e-11, atol=1e-13
    )


@names
@given(x=starts, b=st.floats(-10, 10))
def test_adding_a_constant_to_the_loss_changes_nothing(name, x, b):
    np.testing.assert_array_equal(path(make(name), x, b=b), path(make(name), x))


@pytest.mark.parametrize(
    "name", [name for name in elementwise if not hasattr(catalogue[name](0.01), "weight_decay")]
)
@given(x=starts, s=st.sampled_from([0.5, -2.0, 8.0]))
def test_translating_the_problem_translates_the_path(name, x, s):
    np.testing.assert_allclose(
        path(make(name), np.array(x) - s, s=s) + s, path(make(name), x), atol=1e-9
    )


WITHOUT_A_SCALE = {
    "rmsprop": {"eps": 0.0},
    "adagrad": {"eps": 0.0, "initial_accumulator_value": 0.0},
    "adam": {"eps": 0.0},
    "adamw": {"eps": 0.0},
    "nadam": {"eps": 0.0},
    "adabelief": {"eps": 0.0, "eps_root": 0.0},
    "signum": {},
    "lion": {},
}


@pytest.mark.parametrize("name", WITHOUT_A_SCALE)
@given(x=starts, k=st.integers(-60, 20))
def test_without_eps_the_scale_of_the_loss_does_not_matter_bit_by_bit(name, x, k):
    optimizer = catalogue[name](0.01, **WITHOUT_A_SCALE[name])
    np.testing.assert_array_equal(path(optimizer, x, c=2.0**k), path(optimizer, x))


def test_the_scale_of_the_loss_does_not_matter_to_exact_muon():
    start, target = np.eye(2) + 0.1, jnp.arange(4.0).reshape(2, 2)

    def ends(c):
        return run_map(Muon(0.01, exact=True), lambda x: c * (x - target), start, STEPS).x

    np.testing.assert_allclose(ends(2.0**-60), ends(1.0), atol=1e-14)


LINEAR = ["sgd", "momentum", "nesterov", "nesterov_convex", "schedule_free", "optimistic"]


@pytest.mark.parametrize("name", LINEAR)
@given(x=starts, k=st.integers(-10, 10))
def test_linear_optimizers_trade_the_scale_of_the_loss_for_their_rate(name, x, k):
    """With learning rate η/c on c f the path is that with η on f."""
    kind, c = catalogue[name], 4.0**k
    np.testing.assert_allclose(path(kind(0.01 / c), x, c=c), path(kind(0.01), x), rtol=1e-12)


def rotation(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


@given(x=starts, angle=st.floats(0.3, 1.2))
@pytest.mark.parametrize("name", ["sgd", "momentum"])
def test_rotating_the_problem_rotates_the_path(name, x, angle):
    R = rotation(angle)
    np.testing.assert_allclose(
        path(make(name), R @ np.array(x), R.T) @ R, path(make(name), x), atol=1e-13
    )


@pytest.mark.parametrize("name", ["rmsprop", "adam"])
def test_rotating_the_problem_changes_the_path_of_adaptive_methods(name):
    """The negative control: their preconditioner is diagonal."""
    x, R = (1.0, 0.5, 0.7), rotation(np.pi / 4)
    assert np.abs(path(make(name), R @ np.array(x), R.T) @ R - path(make(name), x)).max() > 0.01


ADAM, RMSPROP = Adam(0.01), RMSprop(0.01, eps=1e-30)


@jax.jit
def _memories_and_steps(gradients):
    """The means m and v of Adam, and the steps of RMSprop, for given gradients."""

    def one_step(points, g):
        adam, rmsprop = points
        adam = ADAM.step(0.0, adam, lambda x: g[None])
        rmsprop_next = RMSPROP.step(0.0, rmsprop, lambda x: g[None])
        step = rmsprop_next.x[0] - rmsprop.x[0]
        return (adam, rmsprop_next), (adam.m[0], adam.v[0], step)

    zero = jnp.zeros(1)
    starts = ADAM.init(zero, None), RMSPROP.init(zero, None)
    return jax.lax.scan(one_step, starts, gradients)[1]


@given(
    gradients=st.lists(
        st.floats(-1e5, 1e5).filter(lambda g: g == 0 or abs(g) > 1e-100),
        min_size=STEPS,
        max_size=STEPS,
    )
)
def test_adam_and_rmsprop_steps_are_bounded_whatever_the_gradients(gradients):
    """RMSprop: |step| ≤ η/√(1-ρ). Adam: |m| ≤ C √v with C = (1-β₁)/√((1-β₂)(1-β₁²/β₂)).

    With the default decay rates, C is 7.27.
    """
    C = (1 - 0.9) / np.sqrt((1 - 0.999) * (1 - 0.9**2 / 0.999))
    assert C == pytest.approx(7.27, abs=5e-3)
    m, v, step = _memories_and_steps(jnp.asarray(gradients))
    assert (np.abs(m) <= C * np.sqrt(v) * (1 + 1e-12) + 1e-300).all()
    assert (np.abs(step) <= 0.01 / np.sqrt(0.1) * (1 + 1e-9)).all()


def quartic(x):
    """One term for each coordinate, with the factors 1 and 3."""
    return jnp.sum(jnp.array([1.0, 3.0])[: x.size] * x**4) / 4


BOWL = Problem(lambda x: jnp.sum(x**2), [0.0, 0.0], name="bowl")
TWO_COORDINATES = Problem(quartic, [1.0, -0.5], name="two coordinates")
FIRST_COORDINATE = Problem(quartic, [1.0], name="first coordinate")
STEEP_BOWL = Problem(lambda x: 10 * jnp.sum(x**2) / 2, [1.0], name="steep bowl")


@names
def test_a_stationary_start_stays_bit_by_bit(name):
    assert (np.asarray(iterate(make(name), BOWL, 5).x) == 0).all()


@names
def test_separable_coordinates_do_not_influence_each_other(name):
    both, first = (
        iterate(make(name), problem, STEPS).x for problem in (TWO_COORDINATES, FIRST_COORDINATE)
    )
    np.testing.assert_array_equal(both[:, :1], first)


def test_momentum_oscillates_exactly_below_critical_damping():
    """Powers of the companion matrix rotate while (1 + μ - h²λ)² < 4μ."""
    for lr, oscillates in ((0.02, True), (0.001, False)):
        x = np.asarray(iterate(Momentum(lr, 0.8), STEEP_BOWL, 200).x[:, 0])
        assert ((1 + 0.8 - lr * 10) ** 2 < 4 * 0.8) == oscillates
        assert (x < 0).any() == oscillates
