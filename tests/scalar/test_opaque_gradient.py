"""The gradient of an unknown loss: what is traced with it holds for every loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynopt.errors import InvalidValue
from dynopt.scalar import opaque_gradient, to_lanes, trace

CURVATURE = np.array([[2.0, 0.5], [0.5, 1.0]])
X, V, W = np.array([[0.7, -0.4], [1.0, 2.0], [-0.5, 0.3]])


# f = xᵀ A x / 2 + (x₀² x₁) / 2, whose derivatives are written out by hand
def gradient(x):
    return CURVATURE @ x + jnp.stack([x[0] * x[1], x[0] ** 2 / 2])


def derivative(x, v):
    return CURVATURE @ v + jnp.stack([x[1] * v[0] + x[0] * v[1], x[0] * v[0]])


def second_derivative(x, v, w):
    return jnp.stack([v[0] * w[1] + v[1] * w[0], v[0] * w[0]])


GRADIENTS = (gradient, derivative, second_derivative)


def value(function, *arguments):
    """What a function of a gradient returns for the loss above, by its program."""
    lanes = to_lanes(trace(lambda *a: function(opaque_gradient, *a), *arguments), GRADIENTS)
    return lanes(*(argument[..., None] for argument in arguments))[..., 0]


@pytest.mark.parametrize(
    "function, arguments, right",
    [
        (lambda g, x: g(x), (X,), gradient(X)),
        (lambda g, x, v: jax.jvp(g, (x,), (v,))[1], (X, V), derivative(X, V)),
        (lambda g, x, v: jax.vjp(g, x)[1](v)[0], (X, V), derivative(X, V)),
        (
            lambda g, x, v, w: jax.jvp(lambda x: jax.jvp(g, (x,), (v,))[1], (x,), (w,))[1],
            (X, V, W),
            second_derivative(X, V, W),
        ),
        (  # d/dx of |g|²/2 is the derivative along g
            lambda g, x: jax.grad(lambda x: jnp.sum(g(x) ** 2) / 2)(x),
            (X,),
            derivative(X, gradient(X)),
        ),
        (  # both the point and the direction depend on x
            lambda g, x, w: jax.jvp(lambda x: jax.jvp(g, (x,), (g(x),))[1], (x,), (w,))[1],
            (X, W),
            second_derivative(X, gradient(X), W) + derivative(X, derivative(X, W)),
        ),
        (
            lambda g, x, v: jax.vmap(lambda v: jax.jvp(g, (x,), (v,))[1], 1, 1)(jnp.stack([x, v], 1))[:, 1],
            (X, V),
            derivative(X, V),
        ),
    ],
    ids=["value", "jvp", "vjp", "jvp of jvp", "grad", "jvp of both", "vmap"],
)  # fmt: skip
def test_derivatives_are_those_of_the_loss_that_is_given_later(function, arguments, right):
    np.testing.assert_allclose(value(function, *arguments), right, rtol=1e-14)


def test_a_matrix_has_a_gradient_of_its_shape():
    program = trace(lambda x: opaque_gradient(x).T, np.ones((2, 1)))
    assert program.result.shape == (1, 2) and program.num_gradients == 1


def test_an_opaque_gradient_has_no_value():
    for evaluate in (opaque_gradient, jax.jit(opaque_gradient)):
        with pytest.raises(InvalidValue, match="its loss is not known; pass the function"):
            evaluate(jnp.zeros(2))
    trace(lambda x: x - opaque_gradient(x), jnp.zeros(2))  # the remedy
