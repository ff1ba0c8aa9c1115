"""The network of digits under each constraint: its formula, its bound and its images."""

import sys
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynopt.errors import EnvironmentProblem, InvalidValue, UnknownName
from dynopt.problems import datasets, digits_network
from dynopt.problems.digits_network import _images, _start as start_of

STRENGTHS = {"ridge": 0.2, "spectral": 0.3, "normalised": 1.5, "gradient": 0.7}
each_constraint = pytest.mark.parametrize("constraint", ["none", *STRENGTHS])


@cache
def made(constraint, activation="tanh"):
    return digits_network(constraint, STRENGTHS.get(constraint), 4, activation, examples=6)


def network(x, a, activation=np.tanh):
    """Scores and hidden layers of one image."""
    one = activation(a @ x["layer1"]["w"] + x["layer1"]["b"])
    two = activation(one @ x["layer2"]["w"] + x["layer2"]["b"])
    return two @ x["layer3"]["w"] + x["layer3"]["b"], one, two


def norm(w):
    return np.linalg.svd(w)[1][0]


def by_numpy(constraint, x, data):
    x = jax.tree.map(np.asarray, x)
    strength, values, slopes = STRENGTHS.get(constraint, 0), [], []
    if constraint == "normalised":
        x = {k: layer | {"w": strength * layer["w"] / norm(layer["w"])} for k, layer in x.items()}
    for a, y in zip(*map(np.asarray, data), strict=True):
        z, one, two = network(x, a)
        values.append(np.log(np.exp(z).sum()) - z[y])
        back = np.exp(z) / np.exp(z).sum() - np.eye(10)[y]
        back = (1 - two**2) * (x["layer3"]["w"] @ back)
        back = x["layer1"]["w"] @ ((1 - one**2) * (x["layer2"]["w"] @ back))
        slopes.append(back @ back)
    ws = [layer["w"] for layer in x.values()]
    added = {
        "ridge": strength / 2 * sum((w**2).sum() for w in ws),
        "spectral": strength / 2 * sum(norm(w) ** 2 for w in ws),
        "gradient": strength * np.mean(slopes),
    }
    return np.mean(values) + added.get(constraint, 0)


@each_constraint
def test_the_loss_is_its_formula(constraint):
    problem = made(constraint)
    x = jax.tree.map(
        lambda leaf: leaf + 0.3 * np.cos(np.arange(leaf.size)).reshape(leaf.shape), problem.start()
    )
    value = eqx.filter_jit(problem.loss)(x)
    assert float(value) == pytest.approx(by_numpy(constraint, x, problem.loss.data), rel=1e-12)
    shapes = jax.eval_shape(jax.grad(problem.loss), jax.tree.map(jnp.float32, x))
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}


@each_constraint
def test_the_bound_is_the_product_of_the_norms_of_the_weights_that_are_used(constraint):
    problem = made(constraint)
    x, loss = problem.start(), problem.loss
    usual = np.prod([norm(layer["w"]) for layer in x.values()])
    expected = 1.5**3 if constraint == "normalised" else usual
    assert float(loss.lipschitz(x)) == pytest.approx(expected, rel=1e-12)
    assert problem.name == "digits_network" + f"_{constraint}" * (constraint != "none")


def test_scores_move_by_at_most_the_bound_and_along_its_singular_vectors_by_no_less():
    loss = made("none").loss
    draw = np.random.default_rng(0).normal
    a, b = draw(size=(2, 200, 64))
    x = made("none").start()
    moved = np.linalg.norm(loss.scores(x, a) - loss.scores(x, b), axis=1)
    assert (moved < float(loss.lipschitz(x)) * np.linalg.norm(a - b, axis=1)).all()
    ends = [draw(size=n) for n in (64, 4, 4, 10)]  # each layer takes one vector to the next
    u = [v / np.linalg.norm(v) for v in ends]
    chain = {
        f"layer{i + 1}": {"w": (i + 2) * np.outer(u[i], u[i + 1]), "b": 0 * u[i + 1]}
        for i in range(3)
    }
    small = 1e-3 * u[0]  # where tanh has the slope 1
    largest = (
        np.linalg.norm(loss.scores(chain, small[None]) - loss.scores(chain, 0 * small[None])) / 1e-3
    )
    assert 0.9999 * 24 < largest < 24 == pytest.approx(float(loss.lipschitz(chain)))


def test_the_gradient_of_a_normalised_loss_is_orthogonal_to_the_weights():
    problem = made("normalised")
    slopes = eqx.filter_jit(eqx.filter_grad(problem.loss))(problem.start())
    for name, layer in problem.start().items():
        w, g = layer["w"], slopes[name]["w"]
        assert abs(jnp.vdot(w, g)) < 1e-14 * jnp.linalg.norm(w) * jnp.linalg.norm(g)
        assert jnp.linalg.norm(g) > 1e-3


def test_the_strength_may_be_traced_and_another_one_compiles_nothing():
    traced = []

    @eqx.filter_jit
    def value(problem):
        traced.append(problem)
        return problem.loss(problem.x0)

    first, second = (digits_network("ridge", s, 4, examples=6) for s in (0.1, 0.3))
    squares = sum((np.asarray(layer["w"]) ** 2).sum() for layer in first.x0.values())
    assert float(value(second) - value(first)) == pytest.approx(0.1 * squares, rel=1e-12)
    assert len(traced) == 1

    def gradient(strength):
        loss = digits_network("ridge", strength, 4, examples=6).loss
        return jax.grad(loss)(first.start())["layer3"]["w"]

    slope = jax.jit(jax.jacfwd(gradient))(0.2)  # λ adds λ W
    np.testing.assert_allclose(slope, first.x0["layer3"]["w"], rtol=1e-12)


def test_the_images_are_all_digits_in_another_order_and_797_of_them_are_unseen():
    pixels, digits = datasets.from_scikit_learn("digits")
    problem = digits_network(width=4)
    features, labels = (
        np.concatenate(pair) for pair in zip(problem.loss.data, problem.loss.unseen, strict=True)
    )
    assert problem.loss.examples == 1000 and problem.loss.unseen[0].shape == (797, 64)
    order = np.random.RandomState(0).permutation(1797)
    np.testing.assert_array_equal(16 * features, pixels[order])
    np.testing.assert_array_equal(labels, digits[order])
    few = made("none").loss
    np.testing.assert_array_equal(few.data[0], features[:6])
    np.testing.assert_array_equal(few.unseen[1], labels[1000:])


def test_relu_takes_the_place_of_tanh_and_starts_with_twice_the_variance():
    tanh, relu = made("none"), made("none", "relu")
    np.testing.assert_allclose(
        relu.x0["layer1"]["w"], np.sqrt(2) * tanh.x0["layer1"]["w"], rtol=1e-15
    )
    features = relu.loss.data[0]
    z = network(
        jax.tree.map(np.asarray, relu.x0), np.asarray(features), lambda z: np.maximum(z, 0)
    )[0]
    np.testing.assert_allclose(relu.loss.scores(relu.start(), features), z, rtol=1e-12, atol=1e-12)
    wide, another = start_of(200, 1, 0), start_of(200, 1, 1)
    assert np.std(wide["layer2"]["w"]) == pytest.approx(200**-0.5, rel=0.02)
    assert not np.array_equal(wide["layer1"]["w"], another["layer1"]["w"])
    assert not wide["layer3"]["b"].any()


def test_what_is_not_allowed_is_refused_in_one_sentence(as_users_see_it):
    with pytest.raises(UnknownName, match="no constraint 'ridg'; did you mean ridge"):
        digits_network("ridg")
    with pytest.raises(UnknownName, match="no activation 'rely'; did you mean relu"):
        digits_network(activation="rely")
    with pytest.raises(UnknownName, match="no constraint .*ridge"):
        digits_network(["ridge"])
    with pytest.raises(UnknownName, match="no activation .*relu"):
        digits_network(activation=["relu"])
    with pytest.raises(InvalidValue, match="0.1, but the constraint 'none' has no strength; pass"):
        digits_network(strength=0.1)
    with pytest.raises(InvalidValue, match="`strength` is 0; use a positive number"):
        digits_network("normalised", 0.0)
    with pytest.raises(InvalidValue, match="`strength` is -1, which is outside"):
        digits_network("spectral", -1.0)
    with pytest.raises(InvalidValue, match="`examples` must be a whole number from 1 to 1000"):
        digits_network(examples=1001)


def test_without_scikit_learn_one_sentence_says_how_to_get_it(monkeypatch):
    _images.cache_clear()
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(
        EnvironmentProblem, match="which is missing; install it with pip install scikit-learn\\.$"
    ):
        digits_network()
