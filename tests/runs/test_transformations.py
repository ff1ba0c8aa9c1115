"""Runs inside `jax.jit`, `jax.vmap`, `jax.grad` and `jax.jvp`, and what leaves these."""

import copy
import pickle

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from losses import polynomial

from dynopt import (
    SGD,
    Adam,
    Momentum,
    Problem,
    Schedule,
    SolverFailure,
    Status,
    analysis,
    integrate,
    iterate,
    problems,
    sweep,
)
from dynopt.errors import InvalidType, InvalidValue
from dynopt.runs.setup import Unrestored

bowl = polynomial("bowl", [1.0, -1.0])
rates = jnp.array([0.05, 0.1])


@pytest.mark.parametrize("run", [iterate, integrate])
def test_batches_are_made_with_filter_vmap(run):
    starts = jnp.array([[1.0, -1.0], [2.0, 0.0]])
    batch = eqx.filter_vmap(lambda rate, x0: run(Momentum(rate), bowl, 40, save_every=2, x0=x0))(
        rates, starts
    )
    for x, rate, x0 in zip(batch.x, rates, starts, strict=True):
        np.testing.assert_allclose(
            x, run(Momentum(rate), bowl, 40, save_every=2, x0=x0).x, atol=1e-9
        )
    assert (batch.result == Status.ok).all()


def test_a_diverged_run_changes_no_other_of_its_batch():
    batch = eqx.filter_vmap(lambda rate: iterate(SGD(rate), bowl, 50))(jnp.array([0.1, 0.9]))
    assert [Status(int(r)) for r in batch.result] == [Status.ok, Status.diverged]
    np.testing.assert_allclose(batch.x[0], iterate(SGD(0.1), bowl, 50).x, rtol=1e-13)


@pytest.mark.parametrize("solver", [diffrax.Tsit5(), diffrax.Kvaerno5()], ids=["Tsit5", "Kvaerno5"])
def test_what_a_loss_closes_over_is_differentiable_too(solver):
    def outcome(stiffness):
        problem = Problem(lambda x: stiffness * jnp.sum(x**2) / 2, [1.0], name="closed")
        return integrate(SGD(0.1), problem, 6, solver=solver).x[-1, 0]

    np.testing.assert_allclose(jax.grad(outcome)(1.0), -0.6 * np.exp(-0.6), rtol=1e-7)


def test_what_jax_compiles_may_return_a_flow():
    flow = jax.jit(lambda rate: integrate(SGD(rate), bowl, 3))(0.1)
    assert flow.stats["solver"] == "Tsit5" and flow.status == Status.ok
    assert flow.stats["solver_steps"] == integrate(SGD(0.1), bowl, 3).stats["solver_steps"]


def test_a_batch_has_results_and_one_run_a_status():
    batch = jax.vmap(map_of_adam)(rates)
    with pytest.raises(InvalidType, match="one run, got a batch of 2 runs; read `result`"):
        batch.failure()
    assert (batch.result == Status.ok).all()
    with pytest.raises(InvalidType, match="got a run inside a transformation; read `result`"):
        jax.jit(lambda rate: map_of_adam(rate).status)(0.1)


# --- optimizer and problem are kept


def test_a_run_holds_the_objects_themselves():
    optimizer = Adam(0.1)
    for run in (
        iterate(optimizer, bowl, 3),
        integrate(optimizer, bowl, 3),
        sweep(optimizer, bowl, 3),
    ):
        assert run.optimizer is optimizer and run.problem is bowl


def map_of_adam(rate):
    return iterate(Adam(rate), bowl, 3)


def sweep_of_adam(rate):
    return sweep(Adam(rate), bowl, 3)


def test_a_compiled_function_returns_the_optimizer_that_it_made():
    for run in (map_of_adam, sweep_of_adam):
        returned = jax.jit(run)(0.1)
        assert returned.problem is bowl and repr(returned.optimizer) == repr(Adam(0.1))
        assert returned.optimizer.h == 0.1 and returned.optimizer.eps == 1e-8


@pytest.mark.parametrize("vmap", [jax.vmap, lambda f: jax.jit(jax.vmap(f)), eqx.filter_vmap])
def test_a_batch_of_optimizers_comes_back_as_a_batch(vmap):
    for run in (map_of_adam, sweep_of_adam):
        batch = vmap(run)(rates)
        assert batch.problem is bowl and eqx.tree_equal(
            batch.optimizer, eqx.filter_vmap(Adam)(rates)
        )
        again = sweep(batch.optimizer, batch.problem, 3)
        np.testing.assert_array_equal(again.result, batch.result)


def test_a_flow_returns_its_batch_too():
    batch = eqx.filter_vmap(lambda rate: integrate(SGD(rate), bowl, 3))(rates)
    assert batch.problem is bowl and eqx.tree_equal(batch.optimizer, eqx.filter_vmap(SGD)(rates))


def test_what_a_batch_shares_stays_what_it_is():
    optimizer = Momentum(0.1)
    batch = jax.vmap(lambda x0: iterate(optimizer, bowl, 3, x0=x0))(jnp.eye(2))
    assert batch.optimizer is optimizer and batch.problem is bowl


def test_gradients_and_tangents_pass_through_a_run():
    def last_loss(rate):
        run = map_of_adam(rate)
        return run.loss[-1], run

    _, run = jax.grad(last_loss, has_aux=True)(0.1)
    assert repr(run.optimizer) == repr(Adam(0.1)) and run.problem is bowl
    run, tangent = jax.jvp(map_of_adam, (0.1,), (1.0,))
    assert run.optimizer.h == 0.1 and tangent.optimizer.h == 1.0
    d = 1e-6
    difference = (map_of_adam(0.1 + d).loss - map_of_adam(0.1 - d).loss) / (2 * d)
    np.testing.assert_allclose(tangent.loss, difference, rtol=1e-6, atol=1e-8)


def test_equal_runs_have_equal_structures():
    first, second = map_of_adam(0.1), map_of_adam(0.1)
    assert jax.tree.structure(first) == jax.tree.structure(second) and eqx.tree_equal(first, second)
    assert jax.tree.structure(first) != jax.tree.structure(map_of_adam(0.2))
    other_loss = iterate(Adam(0.1), polynomial("bowl", [1.0, -1.0]), 3)
    assert jax.tree.structure(first) != jax.tree.structure(other_loss)
    either = jax.lax.cond(True, lambda: map_of_adam(0.1), lambda: map_of_adam(0.1))
    assert eqx.tree_equal(either, first, rtol=1e-12)
    assert jax.jit(lambda run: run.loss[-1])(first) == first.loss[-1]


class Scaled(eqx.Module):
    factor: Array

    def __call__(self, x, data):
        return self.factor * ((data - x) ** 2).mean()


def test_data_are_not_copied_once_per_run():
    data = jnp.arange(1000.0)
    shared = Problem(Scaled(jnp.array(1.0)), 0.0, data=data, name="shared")
    batch = eqx.filter_vmap(lambda rate: iterate(SGD(rate), shared, 3))(rates)
    assert batch.problem is shared
    assert sum(leaf.size for leaf in jax.tree.leaves(batch)) < 100

    def with_factor(factor):
        return iterate(SGD(0.1), Problem(Scaled(factor), 0.0, data=data, name="scaled"), 3)

    loss = eqx.filter_vmap(with_factor)(rates).problem.loss
    np.testing.assert_array_equal(loss.loss.factor, rates)
    assert loss.data.shape == data.shape


@pytest.mark.parametrize("run", [iterate, integrate, sweep])
def test_a_function_that_closes_over_a_traced_value_is_not_kept(run):
    def outcome(factor):
        closed = Problem(lambda x: factor * jnp.sum(x**2), [1.0], name="closed")
        problem = run(SGD(0.1), closed, 3).problem
        return jnp.zeros(3), Kept(problem)

    class Kept(eqx.Module):
        value: object = eqx.field(static=True)

    _, kept = eqx.filter_jit(outcome)(jnp.array(2.0))
    assert kept.value == Unrestored("closed")


@pytest.mark.parametrize("run", [iterate, integrate])
def test_an_optimizer_that_closes_over_a_traced_value_is_not_kept(run):
    def with_factor(factor):
        return run(Schedule(SGD(0.1), lambda k: factor * jnp.exp(-k)), bowl, 3)

    returned = eqx.filter_jit(with_factor)(jnp.array(0.5))
    assert type(returned.optimizer) is Unrestored and returned.problem is bowl
    assert "Schedule(SGD(learning_rate=0.1)" in repr(returned)


@pytest.mark.parametrize(
    "analysis_of",
    [
        lambda h: analysis.order(SGD(h), bowl).slope,
        lambda h: analysis.sensitivity(Momentum(h), bowl, 3).loss,
        lambda h: analysis.basins(SGD(h), problems.himmelblau(), 3, points=3).map,
        lambda h: analysis.inside(SGD(h), bowl).memory,
        lambda h: analysis.stability(Momentum(h)).radius,
        lambda h: analysis.critical_curvature(SGD(h)),
        lambda h: analysis.suggested_rates(bowl, {"sgd": SGD}, 10, [h, h])["sgd"],
    ],
    ids="order sensitivity basins inside stability critical_curvature suggested_rates".split(),
)
@pytest.mark.parametrize("transform", [jax.jit, jax.grad])
def test_what_needs_numbers_refuses_traced_values(transform, analysis_of, request):
    name = request.node.callspec.id.partition("-")[2]
    with pytest.raises(InvalidValue, match=f"{name} needs numbers, .* call it outside of jax.jit"):
        transform(analysis_of)(0.1)


def test_a_traced_run_prints():
    texts = []

    def show(rate):
        texts.extend([repr(iterate(SGD(rate), bowl, 3)), repr(sweep(SGD(rate), bowl, 3))])
        return rate

    jax.jit(show)(rates[0])
    assert texts[0].startswith("Trajectory(map of SGD(learning_rate=f64[]) on bowl, 4 points")
    assert texts[1] == "Sweep(SGD on bowl, 1 run)"


@pytest.mark.parametrize("again", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_run_and_its_failure_can_be_copied_and_pickled(again):
    booth = problems.booth()
    batch = again(jax.vmap(lambda rate: iterate(SGD(rate), booth, 3))(rates))
    np.testing.assert_allclose(batch.optimizer.learning_rate, rates)
    assert batch.problem.name == "booth"
    with pytest.raises(SolverFailure) as raised:
        iterate(SGD(10.0), booth, 400)
    failure = again(raised.value)
    assert str(failure) == str(raised.value) and failure.t_reached == raised.value.t_reached
    assert failure.partial.status == failure.status == Status.diverged
    assert repr(failure.partial.optimizer) == "SGD(learning_rate=10)"


def test_runs_on_a_problem_that_is_made_twice_can_be_stacked():
    runs = [iterate(SGD(0.01), problems.booth(), 3, x0=x0) for x0 in ([1.0, 1.0], [2.0, 0.0])]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *runs)
    np.testing.assert_array_equal(stacked.x[1], runs[1].x)
    assert stacked.problem.name == "booth"
