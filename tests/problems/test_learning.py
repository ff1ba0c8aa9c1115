"""Problems of learning: each loss is its formula, and gradient descent lowers it at every step."""

from functools import cache

import equinox as eqx
import jax
import numpy as np
import pytest
import sentences_in_numpy
from every_problem import LEARNING, made
from jax.flatten_util import ravel_pytree

from dynopt import SGD, iterate
from dynopt.problems import MeanLoss

RATES = {
    "logistic_regression": 1.0,
    "softmax_regression": 1.0,
    "deep_linear": 0.1,
    "tanh_network": 0.1,
    "spectral_normalised": 0.5,
    "spectral_shrinkage": 0.1,
    "digits_network": 0.2,
    "sentence_similarity": 0.02,
    "entity_linking": 4.0,
}
each = pytest.mark.parametrize("name", LEARNING)


@cache
def value_and_grad(name):
    return eqx.filter_jit(eqx.filter_value_and_grad(made(name).loss))


def somewhere(name, seed=0, size=0.3):
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: leaf + size * draw.normal(size=leaf.shape), made(name).start())


def by_numpy(name, x):
    """The formula of the docstring, example by example."""
    x = jax.tree.map(np.asarray, x)
    if name == "deep_linear":
        product = np.eye(2)
        for layer in x:
            product = np.asarray(layer) @ product
        return ((product - np.diag([3.0, 1.0])) ** 2).sum() / 2
    if name == "spectral_normalised":
        target = np.asarray(made(name).loss.target)
        return ((x / np.linalg.norm(x, 2) - target) ** 2).sum() / 2
    if name == "spectral_shrinkage":  # the start is the target
        norm = (np.linalg.svd(x)[1] ** 8).sum() ** (1 / 8)
        return ((x - made(name).x0) ** 2).sum() / 2 + norm
    if name == "sentence_similarity":
        return sentences_in_numpy.loss("am", x, map(np.asarray, made(name).loss.data))
    losses = []
    if name == "entity_linking":  # the bridge is 0
        word = np.asarray(made(name).loss.fixed["word"])
        for context, candidates, label in zip(*map(np.asarray, made(name).loss.data), strict=True):
            query = word[context].mean(0)
            z = [query @ x["entity"][c] + x["prior"][c] for c in candidates]
            losses.append(np.log(np.exp(z).sum()) - z[label])
        return np.mean(losses)
    for a, y in zip(*map(np.asarray, made(name).loss.data), strict=True):
        if name == "logistic_regression":
            losses.append(np.log(1 + np.exp(-(2 * y - 1) * (x["w"] @ a + x["b"]))))
        elif name == "softmax_regression":
            z = a @ x["w"] + x["b"]
            losses.append(np.log(np.exp(z).sum()) - z[y])
        elif name == "digits_network":
            z = a
            for i in (1, 2, 3):
                z = (z if i == 1 else np.tanh(z)) @ x[f"layer{i}"]["w"] + x[f"layer{i}"]["b"]
            losses.append(np.log(np.exp(z).sum()) - z[y])
        else:
            z = np.tanh(
                np.tanh(a @ x["layer1"]["w"] + x["layer1"]["b"]) @ x["layer2"]["w"]
                + x["layer2"]["b"]
            )
            losses.append(
                (z @ x["layer3"]["w"] + x["layer3"]["b"] - np.cos(4 * np.arccos(a)))[0] ** 2 / 2
            )
    return np.mean(losses) + (
        0 if name.endswith("_network") else 0.01 / 2 * np.sum(np.asarray(x["w"]) ** 2)
    )


def test_every_problem_of_learning_has_a_learning_rate_here():
    assert list(RATES) == LEARNING


@each
def test_the_loss_is_its_formula(name):
    for seed in range(5):
        x = somewhere(name, seed)
        assert float(value_and_grad(name)(x)[0]) == pytest.approx(by_numpy(name, x), rel=1e-12)


@each
def test_the_gradient_is_the_slope_of_the_formula(name, d=1e-5):
    x = somewhere(name)
    flat, unravel = ravel_pytree(x)
    gradient = np.asarray(ravel_pytree(value_and_grad(name)(x)[1])[0])
    for seed in range(3):
        direction = np.random.default_rng(seed).normal(size=flat.shape)
        after, before = (by_numpy(name, unravel(flat + s * direction)) for s in (d, -d))
        slope = (after - before) / (2 * d)
        assert gradient @ direction == pytest.approx(slope, rel=1e-6, abs=1e-8)


@each
def test_the_start_is_finite_and_has_a_slope_to_go_down(name):
    value, gradient = value_and_grad(name)(made(name).start())
    gradient = ravel_pytree(gradient)[0]
    assert np.isfinite(value) and np.isfinite(gradient).all() and np.linalg.norm(gradient) > 0.01


@pytest.mark.parametrize("name", ["logistic_regression", "softmax_regression"])
def test_no_slope_is_zero_at_the_start_by_chance(name):
    _, gradient = value_and_grad(name)(made(name).start())
    assert np.abs(ravel_pytree(gradient)[0]).min() > 1e-3


@each
def test_gradient_descent_goes_down_at_every_step(name):
    run = iterate(SGD(RATES[name]), made(name), 50)
    least = made(name).minimum or 0.0
    assert (np.diff(run.loss) < 0).all() and run.loss[-1] - least < 0.9 * (run.loss[0] - least)
    assert jax.tree.structure(run.x) == jax.tree.structure(made(name).x0)


@each
def test_all_examples_count_the_same(name):
    loss = made(name).loss
    if isinstance(loss, MeanLoss):
        x, k = somewhere(name), 10 if loss.examples % 10 == 0 else 8
        parts = jax.jit(jax.vmap(lambda i: loss.part(x, i, k)))(np.arange(k))
        assert np.mean(parts) == pytest.approx(float(value_and_grad(name)(x)[0]), rel=1e-13)
        assert np.std(parts) > 1e-3
