"""Every page minimises every learning problem, a PyTree, and every analysis measures it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from dynopt import Muon, analysis, integrate, problems
from dynopt.optimizers import catalogue

LEARNING = ["logistic_regression", "softmax_regression", "deep_linear", "tanh_network"]


def matrices(problem):
    return all(np.ndim(leaf) == 2 for leaf in jax.tree.leaves(problem.x0))


@pytest.mark.parametrize("name", LEARNING)
def test_every_page_lowers_the_loss_at_a_fifth_of_the_rate_that_is_chosen_for_pictures(name):
    problem = problems.catalogue[name]()
    rates = analysis.suggested_rates(problem, catalogue, 60)
    known = {
        name: cls(rates[name] / 5).for_leaves(problem.start())
        for name, cls in catalogue.items()
        if name != "muon"
    }
    if matrices(problem):
        known["muon"] = Muon(rates["muon"] / 5).for_leaves(problem.start())
    x, unravel = ravel_pytree(problem.start())

    @eqx.filter_jit
    def ends(known, loss):
        def flat(x):
            return loss(unravel(x))

        def run(optimizer):
            def one(y, k):
                return optimizer.step(k * optimizer.h, y, jax.grad(flat)), None

            return flat(jax.lax.scan(one, optimizer.init(x, jax.grad(flat)), jnp.arange(60.0))[0].x)

        return flat(x), {name: run(optimizer) for name, optimizer in known.items()}

    start, reached = ends(known, problem.loss)
    assert len(reached) >= 13
    assert {name: float(loss) for name, loss in reached.items() if not loss < 0.99 * start} == {}


def test_every_analysis_measures_a_network_and_muon_learns_it():
    problem = problems.deep_linear()
    optimizer = catalogue["sgd"](0.05)
    measured = analysis.compare(optimizer, problem, 20)
    assert 0 < measured.solver_error.max() < 1e-3 * measured.largest
    assert analysis.order(optimizer, problem, time=1.0, refinements=4).pairwise[
        -1
    ] == pytest.approx(1, abs=0.05)
    assert analysis.local_error(optimizer, problem, 20).error.max() < measured.largest
    assert (analysis.lyapunov(optimizer, problem, measured.flow).violation == 0).all()
    bias = analysis.implicit_bias(optimizer, problem)
    assert jax.tree.structure(bias.correction) == jax.tree.structure(problem.x0)
    assert float(bias.strength) == pytest.approx(0.05 / 2)  # of |∇f|²/2, as it is of (h/4) |∇f|²

    learned = integrate(Muon(0.02, exact=True), problem, 40)
    assert learned.loss[-1] < learned.loss[0] / 2
    assert jax.tree.structure(learned.x) == jax.tree.structure(problem.x0)
