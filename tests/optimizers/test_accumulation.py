"""A step with the gradients over k parts of the data is the step with that over all data."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from every_optimizer import smooth_optimizers

from dynopt import SGD, Adam, Momentum, Problem, iterate, problems
from dynopt.errors import InvalidValue
from dynopt.optimizers import AbstractOptimizer, Accumulated, Schedule, WithGradient
from dynopt.problems import MeanLoss
from dynopt.runs.prepare import flatten_loss

ELEMENTWISE: tuple[AbstractOptimizer, ...] = tuple(
    optimizer for optimizer in smooth_optimizers(0.01).values() if optimizer.elementwise
)
PARTS = (2, 7, 8)


@pytest.fixture(scope="module")
def digits() -> Problem:
    """Handwritten digits: the first 1792 = 7 · 2⁸ of them, 64 pixels each."""
    images, labels = pytest.importorskip("sklearn.datasets").load_digits(return_X_y=True)
    return problems.softmax_regression((images[:1792] / 16, labels[:1792]))


def clouds() -> Problem:
    return problems.softmax_regression()  # 60 points


def part(grad, x, i, k):
    """The gradient over one part."""
    return grad.part(x, i, k)


def after_one_step(optimizer, x, grad):
    """A point of phase space in which every memory is filled."""
    return optimizer.step(optimizer.h, optimizer.init(x, grad), grad)


def test_one_step_by_parts_is_the_step_of_the_whole_batch(digits):
    @eqx.filter_jit
    def steps(loss):
        x, _, grad = flatten_loss(loss, digits.start())
        points = [after_one_step(optimizer, x, grad) for optimizer in ELEMENTWISE]
        by_batch = [
            optimizer.step(2 * optimizer.h, y, grad)
            for optimizer, y in zip(ELEMENTWISE, points, strict=True)
        ]
        by_parts = [
            [
                Accumulated(optimizer, k).step(2 * optimizer.h, y, grad)
                for k in (PARTS if optimizer == ELEMENTWISE[0] else (7,))
            ]
            for optimizer, y in zip(ELEMENTWISE, points, strict=True)
        ]
        return points, by_batch, by_parts

    for y, by_batch, by_parts in zip(*steps(digits.loss), strict=True):
        assert np.abs(by_batch.x - y.x).max() > 1e-7
        for accumulated in by_parts:
            for a, b in zip(accumulated, by_batch, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_one_part_of_the_digits_alone_would_be_another_step(digits):
    """The negative control."""
    x, _, grad = flatten_loss(digits.loss, digits.start())
    of_part, full = jax.jit(lambda x: (part(grad, x, 0, 8), grad(x)))(x)
    assert np.linalg.norm(of_part - full) > 0.1 * np.linalg.norm(full)


def test_the_mean_over_parts_is_summed_in_their_order(digits):
    x, _, grad = flatten_loss(digits.loss, digits.start())
    mean, parts = jax.jit(
        lambda x: (
            Accumulated(SGD(0.1), 7).mean(grad)(x),
            jax.lax.map(lambda i: part(grad, x, i, 7), jnp.arange(7)),
        )
    )(x)
    total = np.zeros_like(x)
    for gradient in np.asarray(parts):
        total = total + gradient
    np.testing.assert_allclose(mean, total / 7, rtol=0, atol=1e-17)


def test_a_run_by_parts_is_the_run_of_the_whole_batch():
    """Under `jax.lax.scan`, with memory."""
    optimizer, problem = Momentum(0.1), clouds()
    by_parts = iterate(Accumulated(optimizer, 12), problem, 20)
    by_batch = iterate(optimizer, problem, 20)
    np.testing.assert_allclose(by_parts.y.x, by_batch.y.x, rtol=0, atol=1e-12)
    np.testing.assert_allclose(by_parts.y.p, by_batch.y.p, rtol=0, atol=1e-12)


def test_the_flow_is_that_of_the_inner_optimizer_bit_by_bit():
    problem = clouds()
    x, _, grad = flatten_loss(problem.loss, problem.start())
    for optimizer in ELEMENTWISE:
        y = optimizer.init(x + 0.1, grad)
        accumulated = Accumulated(optimizer, 4).vector_field(optimizer.h, y, grad)
        inner = optimizer.vector_field(optimizer.h, y, grad)
        assert all(np.array_equal(a, b) for a, b in zip(accumulated, inner, strict=True))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_sum_has_the_dtype_of_the_position(dtype):
    """Also where the data are in double precision."""
    problem = clouds()
    start = jax.tree.map(lambda leaf: leaf.astype(dtype), problem.start())
    x, _, grad = flatten_loss(problem.loss, start)
    traced = jax.make_jaxpr(Accumulated(SGD(0.1), 4).mean(grad))(x)
    (loop,) = [equation for equation in traced.eqns if equation.primitive.name == "scan"]
    assert [out.aval.dtype for out in loop.outvars] == [dtype] and traced.out_avals[
        0
    ].dtype == dtype


def test_optax_accumulates_to_the_same_step_in_double_precision_and_to_another_by_default():
    """Its default sum is in single precision, and off by 1e-8 or so."""
    optimizer, problem = Accumulated(Momentum(0.1), 4), clouds()
    x, _, grad = flatten_loss(problem.loss, problem.start())
    single = optax.MultiSteps(optimizer.optimizer.optax(), 4)

    @jax.jit
    def ends(x):
        def four_updates(twin):
            state, parameters = twin.init(x), x
            for i in range(4):
                update, state = twin.update(part(grad, x, i, 4), state, parameters)
                parameters = optax.apply_updates(parameters, update)
            return parameters

        return (
            optimizer.step(0.0, optimizer.init(x, grad), grad).x,
            four_updates(optimizer.optax()),
            four_updates(single),
        )

    step, double, default = ends(x)
    np.testing.assert_allclose(double, step, rtol=0, atol=1e-15)
    assert 1e-10 < np.abs(default - step).max() < 1e-7


def test_a_number_of_parts_that_does_not_divide_the_examples_is_refused():
    with pytest.raises(
        InvalidValue, match=r"`k` is 7, which does not divide the 60 examples; use 6 or 10\."
    ):
        iterate(Accumulated(SGD(0.1), 7), clouds(), 1)


def test_a_loss_without_data_is_evaluated_once():
    calls = []

    def loss(x):
        jax.debug.callback(lambda: calls.append(1))
        return jnp.sum(x**2)

    _, _, grad = flatten_loss(loss, jnp.ones(2))
    Accumulated(SGD(0.1), 5).step(0.0, SGD(0.1).init(jnp.ones(2), grad), grad)
    jax.effects_barrier()
    assert calls == [1]


def test_the_memory_that_a_step_needs_shrinks_with_the_number_of_parts():
    """It holds the activations of one part and its data, and one gradient more."""

    def loss(layers, data):
        return jnp.mean(jnp.tanh(data @ layers[0]) @ layers[1])

    start = (np.ones((8, 64)), np.ones((64, 1)))
    data, sizes = jnp.ones((4096, 8)), {}
    for k in (1, 2, 16):
        optimizer = Accumulated(SGD(0.1), k)

        def step(data, x, optimizer=optimizer):
            _, _, grad = flatten_loss(MeanLoss(loss, data), start)
            return optimizer.step(0.0, SGD(0.1).init(x, grad), grad)

        flat = flatten_loss(loss, start)[0]
        memory = jax.jit(step).lower(data, flat).compile().memory_analysis()
        assert memory is not None
        sizes[k] = memory.temp_size_in_bytes
    gradient, activations = flat.nbytes, 4096 * 64 * 8
    assert sizes[1] >= activations
    assert all(sizes[k] <= (sizes[1] + data.nbytes) / k + 4 * gradient + 4096 for k in (2, 16))


def cube(g):
    return jax.tree.map(lambda leaf: leaf**3, g)


def shallow():
    """tanh(x · r) fitted to rows r: so that the cube of a mean is not the mean of cubes."""
    rows = np.random.default_rng(0).normal(size=(12, 2))
    return Problem(lambda x, d: jnp.mean((jnp.tanh(d @ x) - d[:, 0]) ** 2), [0.3, -0.2], data=rows)


def test_a_change_of_the_gradient_over_every_part_is_in_the_flow_too():
    """T around the parts: map and flow have the mean of T(∇fᵢ), which is not T(∇f)."""
    problem, optimizer = shallow(), WithGradient(Accumulated(SGD(0.1), 3), cube)
    x, _, grad = flatten_loss(problem.loss, problem.start())
    y = optimizer.init(x, grad)
    parts = -sum(part(grad, x, i, 3) ** 3 for i in range(3)) / 3
    limit = jax.jvp(lambda h: optimizer.with_time_step(h).step(0.0, y, grad), (0.0,), (1.0,))[1]
    np.testing.assert_allclose(limit.x, parts, rtol=1e-12)
    np.testing.assert_allclose(optimizer.vector_field(0.0, y, grad).x, parts, rtol=1e-12)
    assert np.abs(parts + grad(x) ** 3).max() > 0.01 * np.abs(parts).max()
    outside = Accumulated(WithGradient(SGD(0.1), cube), 3)
    np.testing.assert_allclose(outside.vector_field(0.0, y, grad).x, -(grad(x) ** 3), rtol=1e-12)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda optimizer: Schedule(optimizer, optax.cosine_decay_schedule(1.0, 5)),
        lambda optimizer: WithGradient(optimizer, lambda g, x, k: g**3 + k * x, mean=lambda g: g),
    ],
    ids=["schedule", "surgery"],
)
def test_twins_around_accumulation_count_steps_not_parts(wrap):
    problem, optimizer = shallow(), wrap(Accumulated(Adam(0.1), 3))
    x, _, grad = flatten_loss(problem.loss, problem.start())
    twin, params = optimizer.optax(), x
    state, update = (
        twin.init(params),
        jax.jit(lambda i, s, p: twin.update(part(grad, p, i, 3), s, p)),
    )
    for i in range(3 * 5):
        change, state = update(i % 3, state, params)
        params = params + change
    np.testing.assert_allclose(iterate(optimizer, problem, 5).x[-1], params, rtol=1e-12)
