"""One step of an optimizer is the sum of what its memory and what the gradient contribute."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dynopt import (
    SGD,
    Adam,
    AdamW,
    Momentum,
    Nesterov,
    Optax,
    Problem,
    RMSprop,
    Signum,
    analysis,
    iterate,
    problems,
)
from dynopt.errors import InvalidValue

booth = problems.booth()


@pytest.mark.parametrize(
    "optimizer", [SGD(0.01), Momentum(0.01), Nesterov(0.01), RMSprop(0.1), Adam(0.1)], ids=repr
)
def test_the_parts_of_a_step_add_up_to_it(optimizer):
    parts = analysis.inside(optimizer, booth, first=3, steps=4)
    x = np.asarray(iterate(optimizer, booth, 7).x)
    np.testing.assert_allclose(parts.step, np.diff(x, axis=0)[3:], atol=1e-14)
    np.testing.assert_array_equal(parts.x, x[3:7])
    np.testing.assert_allclose(
        parts.downhill, [-jax.grad(booth.loss)(p) for p in x[3:7]], rtol=1e-12
    )
    assert parts.k.tolist() == [3, 4, 5, 6]


def test_the_memory_of_gradient_descent_and_rmsprop_moves_nothing():
    for optimizer in (SGD(0.01), RMSprop(0.1)):
        assert not analysis.inside(optimizer, booth, first=3).memory.any()
    assert analysis.inside(SGD(0.01), booth).turn == pytest.approx(np.zeros(3), abs=1e-5)


def test_heavy_ball_moves_on_by_mu_times_its_last_step():
    before, now = (analysis.inside(Momentum(0.01, 0.8), booth, first=k, steps=1) for k in (4, 5))
    np.testing.assert_allclose(now.memory, 0.8 * before.step, rtol=1e-12)
    np.testing.assert_allclose(now.gradient, 0.01 * now.downhill, rtol=1e-12)


def test_the_angle_is_that_to_minus_the_gradient():
    parts = analysis.inside(
        Signum(0.1, 0.0), Problem(lambda x: x[0], [0.0, 0.0], name="slide"), steps=1
    )
    assert parts.turn[0] == pytest.approx(0.0, abs=1e-5)
    plane = Problem(lambda x: x[0] + 1e-9 * x[1], [0.0, 0.0], name="plane")
    assert analysis.inside(Signum(0.1, 0.0), plane, steps=1).turn[0] == pytest.approx(45.0)


def test_a_step_of_gradient_descent_points_along_minus_the_gradient_to_the_last_digits():
    """arccos(u · v) would be off by the root of an ulp, 1e-6 degrees."""
    parts = analysis.inside(SGD(0.01), problems.booth(), first=2)
    assert parts.turn.max() < 1e-10


def test_steps_are_counted_from_zero(as_users_see_it):
    with pytest.raises(InvalidValue, match="`steps` must be a whole number of at least 1"):
        analysis.inside(SGD(0.01), booth, steps=0)
    assert (
        repr(analysis.inside(SGD(0.01), booth))
        == "Inside(SGD(learning_rate=0.01) on booth, steps 0 to 2)"
    )


def test_weight_decay_needs_no_gradient_and_is_counted_with_the_memory():
    parts = analysis.inside(AdamW(0.1, weight_decay=0.1), booth, steps=1)
    np.testing.assert_allclose(parts.memory[0], -0.1 * 0.1 * booth.x0, rtol=1e-12)


def test_a_step_that_is_not_finite_without_its_gradient_cannot_be_split():
    optimizer = Optax(lambda h: optax.stateless(lambda g, x: -h * g / jnp.linalg.norm(g)), 0.1)
    with pytest.raises(
        InvalidValue,
        match=r"without a gradient step 2 of Optax\(.*cannot be split; pass a later",
    ):
        analysis.inside(optimizer, booth, first=2)
