"""One step taken apart, the steepest direction in a norm, and the step at which float32 turns back."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dynopt import (
    SGD,
    Adam,
    AdamW,
    Modified,
    Momentum,
    Muon,
    Nesterov,
    Optax,
    Problem,
    RMSprop,
    Signum,
    analysis,
    integrate,
    iterate,
    problems,
)
from dynopt.analysis.steepest import NORMS, length
from dynopt.errors import EnvironmentProblem, InvalidType, InvalidValue, UnknownName

booth = problems.booth()


# --- inside one step


@pytest.mark.parametrize(
    "optimizer", [SGD(0.01), Momentum(0.01), Nesterov(0.01), RMSprop(0.1), Adam(0.1)], ids=repr
)
def test_the_parts_of_a_step_add_up_to_it(optimizer):
    seen = analysis.inside(optimizer, booth, first=3, steps=4)
    x = np.asarray(iterate(optimizer, booth, 7).x)
    np.testing.assert_allclose(seen.step, np.diff(x, axis=0)[3:], atol=1e-14)
    np.testing.assert_array_equal(seen.x, x[3:7])
    np.testing.assert_allclose(
        seen.downhill, [-jax.grad(booth.loss)(p) for p in x[3:7]], rtol=1e-12
    )
    assert seen.k.tolist() == [3, 4, 5, 6]


def test_gradient_descent_and_rmsprop_keep_nothing_that_moves():
    for optimizer in (SGD(0.01), RMSprop(0.1)):
        assert not analysis.inside(optimizer, booth, first=3).memory.any()
    assert analysis.inside(SGD(0.01), booth).turn == pytest.approx(np.zeros(3), abs=1e-5)


def test_heavy_ball_rolls_on_by_mu_times_its_last_step():
    before, now = (analysis.inside(Momentum(0.01, 0.8), booth, first=k, steps=1) for k in (4, 5))
    np.testing.assert_allclose(now.memory, 0.8 * before.step, rtol=1e-12)
    np.testing.assert_allclose(now.gradient, 0.01 * now.downhill, rtol=1e-12)


def test_the_angle_is_that_to_minus_the_gradient():
    seen = analysis.inside(
        Signum(0.1, 0.0), Problem(lambda x: x[0], [0.0, 0.0], name="slide"), steps=1
    )
    assert seen.turn[0] == pytest.approx(0.0, abs=1e-5)
    plane = Problem(lambda x: x[0] + 1e-9 * x[1], [0.0, 0.0], name="plane")
    assert analysis.inside(Signum(0.1, 0.0), plane, steps=1).turn[0] == pytest.approx(45.0)


def test_a_step_of_gradient_descent_points_along_minus_the_gradient_to_the_last_digits():
    """arccos(u · v) would be off by the root of an ulp, 1e-6 degrees."""
    seen = analysis.inside(SGD(0.01), problems.booth(), first=2)
    assert seen.turn.max() < 1e-10


def test_steps_are_counted_from_zero(as_users_see_it):
    with pytest.raises(InvalidValue, match="`steps` must be a whole number of at least 1"):
        analysis.inside(SGD(0.01), booth, steps=0)
    assert (
        repr(analysis.inside(SGD(0.01), booth))
        == "Inside(SGD(learning_rate=0.01) on booth, steps 0 to 2)"
    )


def test_weight_decay_needs_no_gradient_and_is_counted_in():
    seen = analysis.inside(AdamW(0.1, weight_decay=0.1), booth, steps=1)
    np.testing.assert_allclose(seen.memory[0], -0.1 * 0.1 * booth.x0, rtol=1e-12)


def test_a_step_that_is_nothing_without_its_gradient_cannot_be_taken_apart():
    optimizer = Optax(lambda h: optax.stateless(lambda g, x: -h * g / jnp.linalg.norm(g)), 0.1)
    with pytest.raises(
        InvalidValue,
        match=r"without a gradient step 2 of Optax\(.*cannot be taken apart; pass a later",
    ):
        analysis.inside(optimizer, booth, first=2)


# --- steepest


@pytest.mark.parametrize("norm", NORMS)
def test_no_direction_of_length_one_is_steeper(norm):
    random = np.random.default_rng(0)
    g = random.normal(size=(3, 4))
    best = analysis.steepest(g, norm)
    assert length(best.direction, norm) == pytest.approx(1)
    assert best.slope == pytest.approx(float((g * best.direction).sum()))
    for d in random.normal(size=(2000, 3, 4)):
        near = best.direction + 0.1 * d
        for other in (d, near):
            assert (g * other).sum() / length(other, norm) >= best.slope - 1e-12


def test_the_slopes_are_minus_the_dual_norms():
    g = np.array([[3.0, 0.0], [4.0, 5.0]])
    singular = np.linalg.svd(g, compute_uv=False)
    assert analysis.steepest(g).slope == pytest.approx(-np.sqrt(50))
    assert analysis.steepest(g, "max").slope == pytest.approx(-12)
    assert analysis.steepest(g, "spectral").slope == pytest.approx(-singular.sum())


def test_the_optimizers_step_along_the_steepest_direction():
    bowl = Problem(
        lambda x: (x**2).sum() / 2 + (x**4).sum(), jnp.array([[1.0, -2.0], [0.3, 0.7]]), name="bowl"
    )
    g = np.asarray(jax.grad(bowl.loss)(bowl.x0))
    for optimizer, norm in (
        (SGD(0.01), "euclidean"),
        (Signum(0.01, 0.0), "max"),
        (Muon(0.01, beta=0.0), "spectral"),
    ):
        step = np.asarray(jnp.diff(iterate(optimizer, bowl, 1).x, axis=0)).reshape(2, 2)
        d = analysis.steepest(g, norm).direction
        share = np.vdot(step, d) / np.linalg.norm(step) / np.linalg.norm(d)
        assert share == pytest.approx(
            1, abs=2e-3 if norm == "spectral" else 1e-12
        )  # Muon takes five rounds for msign


def test_of_a_matrix_without_full_rank_only_what_is_there_moves():
    d = analysis.steepest(np.outer([3.0, 4.0], [1.0, 0.0]), "spectral").direction
    np.testing.assert_allclose(d, -np.outer([0.6, 0.8], [1.0, 0.0]), atol=1e-12)


def test_tiny_and_huge_gradients_have_one_too():
    for size in (1e-200, 1e200):
        np.testing.assert_allclose(
            analysis.steepest([3 * size, -4 * size]).direction, [-0.6, 0.8], rtol=1e-14
        )


def test_a_traced_gradient_is_refused_by_name():
    with pytest.raises(InvalidType, match="`gradient` is traced by jax, .*; call it outside jit"):
        jax.jit(lambda g: analysis.steepest(g).slope)(jnp.array([1.0, 2.0]))


@pytest.mark.parametrize(
    "gradient, norm, kind, says",
    [
        ([1.0, 2.0], "taxi", UnknownName, "no norm 'taxi'"),
        (
            [1.0, 2.0],
            "spectral",
            InvalidValue,
            r"one of matrices, but `gradient` has shape \(2,\); pass a matrix",
        ),
        (
            [0.0, 0.0],
            "max",
            InvalidValue,
            "must be finite and not 0; pass a point that is no minimizer",
        ),
        (
            "uphill",
            "max",
            InvalidType,
            "`gradient` must be an array, got 'uphill'; pass for example",
        ),
    ],
)
def test_what_has_no_steepest_direction_is_refused(as_users_see_it, gradient, norm, kind, says):
    with pytest.raises(kind, match=says):
        analysis.steepest(gradient, norm)


# --- precision


def test_on_the_bowl_the_gap_at_the_end_is_that_of_euler():
    bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    seen = analysis.precision(SGD(0.1), bowl, 1.0, 5)
    np.testing.assert_allclose(seen.double, np.exp(-1) - (1 - seen.h) ** (1 / seen.h), atol=1e-11)
    np.testing.assert_allclose(seen.single, seen.double, atol=1e-5)
    assert 0 < seen.solver_error < 1e-11 and seen.time == pytest.approx(1.0)


def test_in_float32_rosenbrock_turns_back_at_a_hundred_thousandth():
    seen = analysis.precision(SGD(4e-4), problems.rosenbrock(), 0.5, 8)
    assert seen.turn == pytest.approx(1.25e-5)
    assert seen.single.min() == pytest.approx(7.8e-5, rel=0.2) and seen.single[-1] == pytest.approx(
        1.1e-3, rel=0.2
    )
    assert (np.diff(seen.double) < 0).all()


@pytest.mark.parametrize(
    "optimizer, flows", [(SGD(0.1), 1), (Modified(SGD(0.1)), 3)], ids=["one flow", "a flow each"]
)
def test_a_flow_is_solved_once_unless_it_knows_the_step(optimizer, flows, monkeypatch):
    room, solved = sys.modules["dynopt.analysis.precision"], []
    monkeypatch.setattr(
        room, "integrate", lambda *given, **how: solved.append(given) or integrate(*given, **how)
    )
    analysis.precision(optimizer, Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl"), 1.0, 3)
    assert len(solved) == 2 * flows  # at a looser tolerance, too


def test_precision_needs_float64(as_users_see_it):
    with (
        jax.enable_x64(False),
        pytest.raises(EnvironmentProblem, match="float64 is off; call jax.config.update"),
    ):
        analysis.precision(SGD(0.1), booth, 1.0)


def test_wrong_input_of_precision_is_refused(as_users_see_it):
    for given, kind, says in (
        (("sgd", booth, 1.0), InvalidType, "'sgd'"),
        ((SGD(0.1), "booth", 1.0), InvalidType, "'booth'"),
        ((SGD(0.1), booth, -1.0), InvalidValue, "`time` is -1; use a positive number.$"),
        (
            (SGD(0.1), booth, 1.0, 2),
            InvalidValue,
            "whole number from 3 to 20, got 2; pass refinements=8, say",
        ),
        (
            (SGD(0.1), booth, 1.0, 21),
            InvalidValue,
            "whole number from 3 to 20, got 21; pass refinements=8, say",
        ),
    ):
        with pytest.raises(kind, match=says):
            analysis.precision(*given)
