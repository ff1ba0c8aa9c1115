"""Derivatives of outcomes in the learning rate, in decays, in the start and in the data.

Each agrees with a central difference quotient, and the Hessian with that of the gradient. One
coordinate of the loss has a gradient that is zero everywhere.
"""

from functools import cache
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import tree

from dynopt import SGD, Adam, Problem, Schedule, integrate, iterate, sweep
from dynopt.optimizers import AbstractOptimizer, catalogue
from dynopt.optimizers.base import hyperparameter_defaults

RUNS = {run.__name__: run for run in (iterate, integrate, sweep)}
DATA = jnp.array([-1.0, 1.0])
START, STATIONARY = jnp.array([1.0, 1.0]), jnp.array([0.0, 1.0])


def half(x, data):
    """A loss of the first coordinate alone; it is stationary at the mean of the data."""
    away = jnp.ravel(x)[0] - data
    return (away**2 + away**4 / 10).mean() + 0 * jnp.ravel(x)[1]


def inputs(name, start=START):
    decays = {k: v for k, v in hyperparameter_defaults(catalogue[name]).items() if v is not None}
    decays = {k: jnp.asarray(v) for k, v in decays.items() if isinstance(v, float)}
    return {"rate": jnp.asarray(0.05), "decays": decays, "start": start, "data": DATA}


@cache
def derivatives(run, name):
    """Value and gradient of an outcome, and how both change in a direction, in forward mode."""

    def outcome(inputs):
        optimizer = catalogue[name](inputs["rate"], **inputs["decays"])
        start = inputs["start"] if optimizer.elementwise else inputs["start"].reshape(2, 1)
        ran = RUNS[run](optimizer, Problem(half, start, data=inputs["data"]), 3, x0=start)
        return jnp.sum(ran.loss) + jnp.sum(ran.grad_norm)

    value_and_gradient = jax.value_and_grad(outcome)
    return jax.jit(lambda inputs, change: jax.jvp(value_and_gradient, (inputs,), (change,)))


def change_of(name, inputs):
    """A change of the input of this name alone, in proportion to it, so that no zero changes."""
    return inputs | {key: tree.map(jnp.zeros_like, inputs[key]) for key in inputs.keys() - {name}}


def dot(a, b):
    return sum(map(jnp.vdot, tree.leaves(a), tree.leaves(b)))


every_optimizer = pytest.mark.parametrize("name", catalogue)


@pytest.mark.parametrize(
    ("run", "name"),
    [("iterate", name) for name in catalogue] + [("integrate", "adam"), ("sweep", "momentum")],
)
def test_gradients_tangents_and_hessians_are_difference_quotients(run, name):
    of, here, d = derivatives(run, name), inputs(name), 1e-5
    atol = 1e-6 if run == "integrate" else 1e-9  # that of the solver
    for changed in here:
        change = change_of(changed, here)
        (_, gradient), (tangent, hessian) = of(here, change)
        (above, steeper), (below, flatter) = (
            of(tree.map(lambda a, v: a + step * v, here, change), change)[0]  # noqa: B023
            for step in (d, -d)
        )
        quotient = (above - below) / (2 * d)
        assert changed == "decays" or abs(quotient) > 1e-3
        np.testing.assert_allclose(tangent, quotient, rtol=1e-5, atol=atol)
        np.testing.assert_allclose(dot(gradient, change), quotient, rtol=1e-5, atol=atol)
        for product, up, down in zip(*map(tree.leaves, (hessian, steeper, flatter)), strict=True):
            np.testing.assert_allclose(product, (up - down) / (2 * d), rtol=1e-4, atol=1e-5)


class SideState(NamedTuple):
    x: jax.Array
    points: tuple


class SideBySide(AbstractOptimizer[SideState]):
    """All optimizers of the catalogue, each at two coordinates of x, so that one program runs all.

    One step takes the mean of their learning rates.
    """

    h: jax.Array
    optimizers: tuple

    def __init__(self, rates):
        self.h = rates.mean()
        made = (kind(rate) for kind, rate in zip(catalogue.values(), rates, strict=True))
        self.optimizers = tuple(
            one if one.elementwise else one.for_leaves(jnp.ones((2, 1))) for one in made
        )

    def init(self, x, grad):
        return self._joined("init", x, grad)

    def init_flow(self, x, grad, order=1):
        return self._joined("init_flow", x, grad)

    def step(self, t, y, grad):
        return self._joined("step", y.x, grad, y, t / self.h)

    def vector_field(self, t, y, grad):
        return self._joined("vector_field", y.x, grad, y, t)

    def _joined(self, method, x, grad, y=None, t=None):
        def grad_of_one(x):
            return grad(jnp.tile(x, len(self.optimizers)))[:2]

        points = []
        for i, one in enumerate(self.optimizers):
            first = x[2 * i : 2 * i + 2]
            if y is not None:
                first = y.points[i]._replace(x=first)
            time = () if t is None else (t * one.h if method == "step" else t,)
            points.append(getattr(one, method)(*time, first, grad_of_one))
        return SideState(jnp.concatenate([point.x for point in points]), tuple(points))


def halves(x, data):
    return jax.vmap(lambda x: half(x, data))(x.reshape(-1, 2)).sum()


@pytest.mark.parametrize("run", [pytest.param("integrate", marks=pytest.mark.slow), "sweep"])
def test_in_flows_and_sweeps_the_derivatives_of_every_optimizer_are_difference_quotients(run):
    """In each learning rate and in each start, in reverse and in forward mode."""

    def outcome(rates, starts):
        starts = starts.ravel()
        problem = Problem(halves, starts, data=DATA)
        return jnp.sum(RUNS[run](SideBySide(rates), problem, 1, x0=starts).loss)

    along = jax.jit(lambda at, change: jax.jvp(outcome, at, change))
    n, d = len(catalogue), 1e-4
    here = jnp.full(n, 0.05), jnp.tile(START, (n, 1))
    none, gradient = tree.map(jnp.zeros_like, here), jax.jit(jax.grad(outcome, (0, 1)))(*here)
    for i, name in enumerate(catalogue):
        for change in (none[0].at[i].set(0.05), none[1]), (none[0], none[1].at[i, 0].set(1.0)):
            (_, tangent), (above, _), (below, _) = (
                along(tree.map(lambda a, v: a + step * v, here, change), change)  # noqa: B023
                for step in (0, d, -d)
            )
            quotient = (above - below) / (2 * d)
            assert abs(quotient) > 1e-3, name
            for derivative in (tangent, dot(gradient, change)):
                np.testing.assert_allclose(derivative, quotient, rtol=1e-5, err_msg=name)


@every_optimizer
def test_derivatives_at_a_stationary_start_are_finite(name):
    here = inputs(name, STATIONARY)
    for changed in here:
        results = derivatives("iterate", name)(here, change_of(changed, here))
        assert all(np.isfinite(leaf).all() for leaf in tree.leaves(results))


def test_a_coordinate_without_gradient_does_not_spoil_the_derivative_of_adam():
    """All gradients of x² are positive, so that five steps of Adam are a smooth function."""
    square = Problem(lambda x: x[0] ** 2 + 0 * x[1], [1.0, 1.0], name="half")
    derivative = jax.grad(lambda rate: iterate(Adam(rate), square, 5).loss[-1])(0.01)
    np.testing.assert_allclose(derivative, -9.4824, rtol=1e-5)


def test_a_solver_without_error_estimate_has_the_derivatives_of_its_steps():
    """Euler's solution of the gradient flow is gradient descent, as a function of the rate too."""
    problem = Problem(half, START, data=DATA)

    def map_and_flow(rate):
        flow = integrate(SGD(rate), problem, 3, solver=diffrax.Euler())
        return iterate(SGD(rate), problem, 3).loss, flow.loss

    of_map, of_flow = jax.jit(jax.jacrev(map_and_flow))(0.05)
    np.testing.assert_allclose(of_flow, of_map, rtol=1e-12)


@pytest.mark.parametrize("run", [iterate, sweep])
def test_a_schedule_may_close_over_what_is_differentiated(run):
    """After one step from 1 on x²/2 the loss is (1 - rate factor)²/2."""
    bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")

    def last_loss(factor):
        return jnp.ravel(run(Schedule(SGD(0.1), lambda k: factor), bowl, 1).loss)[-1]

    for mode in (jax.grad, jax.jacfwd):
        np.testing.assert_allclose(mode(last_loss)(2.0), -0.1 * (1 - 0.2), rtol=1e-14)
