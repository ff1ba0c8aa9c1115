"""Every optimizer, wrapper and derived flow, on any loss, has in JavaScript the numbers of JAX."""

from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from every_optimizer import default_optimizers
from every_problem import FORMULAS, made

import dynopt
from dynopt.scalar import opaque_gradient, to_javascript, trace

X = jnp.array([0.5, -0.3])
LOSS = made("himmelblau").loss
NAMES = ("gradient", "derivative", "second_derivative")


def gradient(x):
    return jax.grad(LOSS)(x.ravel()).reshape(x.shape)


def derivative(x, v):
    return jax.jvp(gradient, (x,), (v,))[1]


def second_derivative(x, v, w):
    return jax.jvp(lambda x: derivative(x, v), (x,), (w,))[1]


@pytest.fixture(scope="module")
def loss_in_javascript(engine):
    """The list of the derivatives of the loss, as a program with an opaque gradient calls them."""
    functions = (gradient, derivative, second_derivative)
    for i, (name, function) in enumerate(zip(NAMES, functions, strict=True)):
        engine.read(to_javascript(trace(function, *[X] * (i + 1)), name))
    return f"[{','.join(NAMES)}]"


def assert_same_numbers(got, right):
    right = np.array(
        [number for leaf in jax.tree.leaves(right) for number in np.ravel(leaf)], float
    )
    np.testing.assert_allclose(got, right, rtol=1e-12)


def assert_javascript_computes(
    engine, gradients, optimizer, method, change=lambda o: o, t=0.37, insides=(opaque_gradient,)
):
    """With each of the gradients inside; the hyperparameters of the optimizer are arguments.

    Returns the text.
    """
    x = X if optimizer.elementwise else X[:, None]
    arrays, static = eqx.partition(optimizer.for_leaves(x), eqx.is_inexact_array_like)
    numbers = jax.tree.leaves(arrays)

    def function(grad):
        def evaluate(numbers, t, y):
            fields = jax.tree.unflatten(jax.tree.structure(arrays), numbers)
            return getattr(change(eqx.combine(fields, static)), method)(t, y, grad)

        return evaluate

    y = jax.tree.map(
        lambda leaf: leaf + 0.1 * jnp.arange(1.0, 1 + leaf.size).reshape(leaf.shape) if t else leaf,
        change(optimizer).init_flow(x, gradient),
    )
    with jax.disable_jit():
        right = function(gradient)(numbers, t, y)
    for grad in insides:
        text = to_javascript(trace(function(grad), numbers, t, y), "f")
        engine.read(text)
        assert_same_numbers(engine.call("f", numbers, t, y, gradients=gradients), right)
    return text


OPTIMIZERS = default_optimizers(0.01)
WRAPPED = {
    "averaged": dynopt.Averaged(dynopt.SGD(0.1), 2.0),
    "leapfrog": dynopt.Leapfrog(dynopt.Momentum(0.01)),
    "sam": dynopt.SAM(dynopt.RMSprop(0.01), 0.05),
    "extragradient": dynopt.Extragradient(dynopt.Momentum(0.01)),
    "consensus": dynopt.Consensus(dynopt.SGD(0.01), 0.3),
    "accumulated": dynopt.Accumulated(dynopt.SGD(0.1), 2),
    "schedule": dynopt.Schedule(dynopt.SGD(0.1), optax.cosine_decay_schedule(1.0, 100)),
    "clipped": dynopt.WithGradient(dynopt.SGD(0.1), optax.clip_by_global_norm(1.0)),
}


@pytest.mark.parametrize("method", ["step", "vector_field"])
@pytest.mark.parametrize("name", [*OPTIMIZERS, *WRAPPED])
def test_every_optimizer_computes_the_same_for_an_open_loss_and_for_a_given_one(
    engine, loss_in_javascript, name, method
):
    insides = (opaque_gradient, gradient) if name in OPTIMIZERS else (opaque_gradient,)
    optimizer = (OPTIMIZERS | WRAPPED)[name]
    assert_javascript_computes(engine, loss_in_javascript, optimizer, method, insides=insides)


@pytest.mark.parametrize("name", ["adam", "nadam", "nesterov_convex", "schedule_free"])
def test_flows_that_begin_with_a_limit_are_the_same_there(engine, loss_in_javascript, name):
    assert_javascript_computes(engine, loss_in_javascript, OPTIMIZERS[name], "vector_field", t=0.0)


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adam"])
@pytest.mark.filterwarnings("ignore:.* has order:UserWarning")
def test_modified_flows_are_the_same(engine, loss_in_javascript, name):
    assert_javascript_computes(
        engine, loss_in_javascript, OPTIMIZERS[name], "vector_field", dynopt.Modified
    )


def test_a_modified_flow_of_order_three_asks_for_three_gradients(engine, loss_in_javascript):
    assert_javascript_computes(
        engine, loss_in_javascript, OPTIMIZERS["momentum"], "vector_field",
        lambda optimizer: dynopt.Modified(optimizer, order=3),
    )  # fmt: skip
    field = dynopt.Modified(dynopt.SGD(0.1), order=3).vector_field
    program = trace(lambda y: field(0.0, y, opaque_gradient), dynopt.SGD(0.1).init(X, gradient))
    assert program.num_gradients == 3


@cache
def from_optax(name):
    family, h, scale = {
        "clipped": (
            lambda h: optax.chain(optax.clip(5.0), optax.sgd(h**2, momentum=1 - h)),
            0.1,
            {"trace": -1},
        ),
        "yogi": (lambda h: optax.yogi(h, b1=1 - h / 0.1, b2=1 - h / 10), 0.01, {}),
    }[name]
    optimizer = dynopt.Optax(family, h, scale=scale)
    assert not optimizer.fault and optimizer.limit.order == 1  # both are measured here, once
    return optimizer


@pytest.mark.parametrize("name, method", [("clipped", "step"), ("clipped", "vector_field")])
def test_families_of_optax_and_their_flows_are_the_same(engine, loss_in_javascript, name, method):
    assert_javascript_computes(engine, loss_in_javascript, from_optax(name), method)


@pytest.mark.parametrize("change, most", [(lambda o: o, 3000), (dynopt.Modified, 8000)])
@pytest.mark.filterwarnings("ignore:the map of:UserWarning")
def test_a_flow_that_is_extrapolated_from_eight_time_steps_is_written_once(
    engine, loss_in_javascript, change, most
):
    """Where each of them is written out, it takes 13 kB and, modified, 31 kB."""
    text = assert_javascript_computes(
        engine, loss_in_javascript, from_optax("yogi"), "vector_field", change
    )
    assert 1000 < len(text) < most


@pytest.mark.parametrize("name", FORMULAS)
def test_every_loss_of_the_plane_and_its_derivatives_are_the_same(engine, name):
    problem = made(name)

    def derivatives(x, v):
        return problem.loss(x), *jax.jvp(jax.grad(problem.loss), (x,), (v,))

    x, v = problem.x0 + jnp.array([0.1, -0.2]), jnp.array([0.4, 1.3])
    engine.read(to_javascript(trace(derivatives, x, v), "derivatives"))
    with jax.disable_jit():
        right = derivatives(x, v)
    assert_same_numbers(engine.call("derivatives", x, v), right)
