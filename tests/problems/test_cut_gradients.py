"""One loss trains two players: three ways of cutting gradients give the steps of two losses.

The players are the networks of `problems.ring_gan`. The loss of both is cut at the parameters or at
the samples by `jax.lax.stop_gradient`, or one of its two copies of the position is `Held`.
"""

import warnings
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from dynopt import SGD, Adam, Held, Modified, Problem, analysis, iterate, problems
from dynopt.problems.ring_gan import discriminator_loss, generator_loss, network

hold = jax.lax.stop_gradient
ADAM, STEPS = Adam(2e-3), 300


def held_parameters(x, held, data):
    """Each player at x, against the other one at `held`."""
    discriminator = discriminator_loss({"d": x["d"], "g": held["g"]}, data)
    return discriminator + generator_loss({"d": held["d"], "g": x["g"]}, data)


def cut_at_parameters(x, data):
    return held_parameters(x, hold(x), data)


def cut_at_samples(x, data):
    """Samples that are cut train the discriminator. The loss of the generator would move it, too,
    and is taken away again at cut samples, which have no gradient by the generator.
    """
    z, real = data
    fake, d = network(z, x["g"]), x["d"]
    discriminator = jax.nn.softplus(-network(real, d)) + jax.nn.softplus(network(hold(fake), d))
    generator = jax.nn.softplus(-network(fake, d)).mean()
    return discriminator.mean() + generator - jax.nn.softplus(-network(hold(fake), d)).mean()


@cache
def ring():
    return problems.ring_gan(examples=32)


WAYS = {
    "parameters": cut_at_parameters,
    "samples": cut_at_samples,
    "held": Held(held_parameters),
}
ways = pytest.mark.parametrize("way", WAYS)


@cache
def of_one_loss(way):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Problem(WAYS[way], ring().x0, data=ring().loss.data)


def start():
    """The position as one vector, and the function that makes it a position again."""
    return ravel_pytree(ring().start())


@jax.jit
def two_gradients(d, g):
    """That of each loss by its own player; d and g are vectors."""
    x, data = start()[1](jnp.concatenate([d, g])), ring().loss.data
    of_d = jax.grad(lambda d: discriminator_loss({**x, "d": d}, data))(x["d"])
    of_g = jax.grad(lambda g: generator_loss({**x, "g": g}, data))(x["g"])
    return ravel_pytree(of_d)[0], ravel_pytree(of_g)[0]


@jax.jit
def adam_step(k, y, g):
    return ADAM.step(k * ADAM.h, y, lambda _: g)


@jax.jit
def optax_step(x, state, g):
    update, state = optax.adam(2e-3).update(g, state)
    return x + update, state


def players(x):
    return jnp.split(x, [ravel_pytree(ring().x0["d"])[0].size])


@pytest.fixture(scope="module")
def of_two():
    """The ends of two Adams, one for each loss, and of two Adams of optax."""
    starts = players(start()[0])
    ours = [ADAM.init(x, None) for x in starts]
    theirs = [(x, optax.adam(2e-3).init(x)) for x in starts]
    for k in range(STEPS):
        gradients = two_gradients(*(y.x for y in ours))
        ours = [adam_step(float(k), y, g) for y, g in zip(ours, gradients, strict=True)]
        gradients = two_gradients(*(x for x, _ in theirs))
        theirs = [optax_step(*of, g) for of, g in zip(theirs, gradients, strict=True)]
    return np.concatenate([y.x for y in ours]), np.concatenate([x for x, _ in theirs])


@ways
def test_the_gradient_of_one_loss_is_that_of_two_and_so_are_the_steps_bit_by_bit(way, of_two):
    (x, unravel), problem = start(), of_one_loss(way)
    field = jax.jit(lambda x: ravel_pytree(problem.field(unravel(x)))[0])
    np.testing.assert_array_equal(field(x), np.concatenate(two_gradients(*players(x))))
    y = ADAM.init(x, None)
    for k in range(STEPS):
        y = adam_step(float(k), y, field(y.x))
    np.testing.assert_array_equal(y.x, of_two[0])
    np.testing.assert_allclose(y.x, of_two[1], atol=1e-13)
    assert all(np.abs(moved).max() > 0.1 for moved in players(y.x - x))


def test_a_run_takes_these_steps(of_two):
    """In another program, whose sums have another order."""
    run = iterate(ADAM, of_one_loss("held"), STEPS, save_every=STEPS)
    np.testing.assert_allclose(run.y.x[-1], of_two[0], atol=1e-13)


def test_the_value_of_one_loss_is_no_objective():
    """The three have the same gradient and two values."""
    of_ways = [of_one_loss(way) for way in WAYS]
    values = [float(problem.loss(ring().start())) for problem in of_ways]
    assert values[0] == values[2] and abs(values[1] - values[0]) > 0.5
    assert [problem.derivable for problem in of_ways] == [False, False, True]


# what the remedy for stop_gradient makes right


def rotation(x):
    """Player 0 descends x₀x₁ and player 1 its negative."""
    return x[0] * hold(x[1]) - hold(x[0]) * x[1]


class Turn(eqx.Module):
    """The same game with the strength s."""

    strength: Array

    def __call__(self, x, held):
        return self.strength * (x[0] * held[1] - held[0] * x[1])


def after(steps, h, s=1.0):
    """x₀ after steps of simultaneous descent from (1, 0), where x₀ + i x₁ turns and grows."""
    return ((1 + 1j * h * s) ** steps).real


def turn(strength=1.0):
    return Problem(Held(Turn(jnp.asarray(strength))), [1.0, 0.0], name="turn")


def test_a_loss_with_stop_gradient_is_told_of_the_class_that_helps():
    with pytest.warns(UserWarning, match="by dynopt.Held in place of jax.lax.stop_gradient"):
        Problem(rotation, [1.0, 0.0])


def test_with_the_remedy_outcomes_have_the_derivatives_that_differences_have():
    """By the learning rate and by a number of the loss, in both modes."""

    def outcome(h, s):
        return iterate(SGD(h), turn(s), 100).x[-1, 0]

    found = [mode(outcome, (0, 1))(0.1, 1.0) for mode in (jax.grad, jax.jacfwd)]
    by_rate, by_strength = (
        (after(100, 0.1 + e, 1 + d) - after(100, 0.1 - e, 1 - d)) / 2e-6
        for e, d in ((1e-6, 0), (0, 1e-6))
    )
    np.testing.assert_allclose(found, [[by_rate, by_strength]] * 2, rtol=1e-6)
    assert by_rate == pytest.approx(70.06, abs=0.005)


def test_with_the_remedy_the_modified_flow_has_order_two():
    order = analysis.order(Modified(SGD(0.1)), turn(), time=1.0, refinements=4)
    assert order.pairwise[-1] == pytest.approx(2, abs=0.02)
