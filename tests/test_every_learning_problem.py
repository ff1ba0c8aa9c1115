"""Every optimizer minimises every problem of learning, a PyTree, and every analysis measures it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from every_problem import LEARNING, made
from jax.flatten_util import ravel_pytree

from dynopt import Muon, analysis, integrate
from dynopt.optimizers import catalogue

STEPS = 60


def optimizers_for(problem):
    """Every optimizer at a fifth of its suggested learning rate; Muon for matrices only."""
    start = problem.start()
    rates = analysis.suggested_rates(problem, catalogue, STEPS)
    has_only_matrices = all(np.ndim(leaf) == 2 for leaf in jax.tree.leaves(start))
    return {
        name: kind(rates[name] / 5).for_leaves(start)
        for name, kind in catalogue.items()
        if kind is not Muon or has_only_matrices
    }


@eqx.filter_jit
def losses_after_steps(optimizers, loss, start):
    """The loss at the start, and for each optimizer the loss after its steps."""
    x, unravel = ravel_pytree(start)

    def flat_loss(x):
        return loss(unravel(x))

    grad = jax.grad(flat_loss)

    def last_loss(optimizer):
        def step(y, k):
            return optimizer.step(k * optimizer.h, y, grad), None

        last, _ = jax.lax.scan(step, optimizer.init(x, grad), jnp.arange(float(STEPS)))
        return flat_loss(last.x)

    return flat_loss(x), {name: last_loss(optimizer) for name, optimizer in optimizers.items()}


@pytest.mark.parametrize("name", LEARNING)
def test_every_optimizer_lowers_the_loss_at_a_fifth_of_its_suggested_learning_rate(name):
    problem = made(name)
    optimizers = optimizers_for(problem)
    assert set(catalogue) - set(optimizers) <= {"muon"}
    first, last = losses_after_steps(optimizers, problem.loss, problem.start())
    assert {name: float(loss) for name, loss in last.items() if not loss < 0.99 * first} == {}


def test_every_analysis_measures_a_network_and_muon_learns_it():
    problem = made("deep_linear")
    optimizer = catalogue["sgd"](0.05)
    measured = analysis.compare(optimizer, problem, 20)
    assert 0 < measured.solver_error.max() < 1e-3 * measured.largest
    order = analysis.order(optimizer, problem, time=1.0, refinements=4)
    assert order.pairwise[-1] == pytest.approx(1, abs=0.05)
    assert analysis.local_error(optimizer, problem, 20).error.max() < measured.largest
    assert (analysis.lyapunov(optimizer, problem, 20).flow_rises == 0).all()
    bias = analysis.implicit_bias(optimizer, problem)
    assert jax.tree.structure(bias.correction) == jax.tree.structure(problem.x0)
    assert float(bias.strength) == pytest.approx(0.05 / 2)  # of |∇f|²/2, as it is of (h/4) |∇f|²

    learned = integrate(Muon(0.02, exact=True), problem, 40)
    assert learned.loss[-1] < learned.loss[0] / 2
    assert jax.tree.structure(learned.x) == jax.tree.structure(problem.x0)
