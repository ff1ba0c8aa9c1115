"""Ctrl-C ends a long run within a second, and what was done is kept."""

import importlib
import itertools
import pickle
import signal
import time
from contextlib import contextmanager

import diffrax
import jax
import numpy as np
import pytest
from losses import polynomial

from dynopt import SGD, Momentum, Status, integrate, iterate
from dynopt.errors import Interrupted
from dynopt.runs import calls

maps = importlib.import_module("dynopt.runs.iterate")
flows = importlib.import_module("dynopt.runs.integrate")
bowl = polynomial("bowl", [1.0, -1.0])
CURVATURES = np.array([1.0, 4.0])


@contextmanager
def ctrl_c_after(seconds):
    """What Ctrl-C does, at a known time; of the processor, as other processes may keep it busy."""
    handler = signal.signal(signal.SIGPROF, signal.default_int_handler)
    began = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        with pytest.raises(Interrupted) as caught:
            yield caught
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
    assert time.process_time() - began - seconds < 1


@pytest.fixture
def ctrl_c_in_call(monkeypatch):
    """Press Ctrl-C while the call of that number is computed, the first one being 1."""

    def press(number):
        block, count = jax.block_until_ready, itertools.count(1)

        def block_until_ready(state):
            if next(count) == number:
                signal.raise_signal(signal.SIGINT)
            return block(state)

        monkeypatch.setattr(jax, "block_until_ready", block_until_ready)

    return press


def test_ctrl_c_ends_a_map_within_a_second_and_keeps_its_points():
    """x_k = (1 - h λ)^k x_0 on a quadratic, up to the step before the interrupt."""
    with ctrl_c_after(2) as caught:
        iterate(SGD(1e-9), bowl, 10**9, save_every=10**6)
    run, failure = caught.value.partial, str(caught.value)
    k, n = int(run.stats["first_bad_step"]), int(run.finite.sum())
    assert run.status == Status.interrupted and 0 < k < 10**9
    steps = np.append(np.arange(0, k, 10**6), k)
    exact = np.exp(np.outer(steps, np.log1p(-1e-9 * CURVATURES)))
    np.testing.assert_allclose(run.x[:n], exact * [1.0, -1.0], rtol=1e-9)
    np.testing.assert_allclose(run.t[:n], steps * 1e-9, rtol=1e-14)
    assert np.isnan(run.x[n:]).all() and np.isnan(run.grad_norm[n:]).all()
    assert f"the map of SGD(learning_rate=1e-09) on bowl was stopped at step {k}; `par" in failure
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == failure and again.partial.status == Status.interrupted
    assert not isinstance(caught.value, Exception)  # `except Exception` does not hide Ctrl-C


def test_ctrl_c_ends_a_flow_within_a_second_and_keeps_its_points():
    """With curvatures 10⁶ and 1 an explicit solver needs millions of steps; y(t) = e^(-t) y(0)."""
    stiff, solver = polynomial("stiff", [1.0, 1.0]), diffrax.Tsit5()
    with ctrl_c_after(2) as caught:
        integrate(SGD(0.02), stiff, 10_000, solver=solver, max_steps=10**9)
    run = caught.value.partial
    n = int(run.finite.sum())
    assert run.status == Status.interrupted and 2 < n < 10_000 and run.stats["solver_steps"] > 1000
    np.testing.assert_allclose(run.x[:n, 1], np.exp(-run.t[:n]), rtol=1e-6)
    assert np.isnan(run.x[n:]).all() and run.stats["first_bad_step"] == n - 1
    where = f"of SGD(learning_rate=0.02) on stiff was stopped at t = {run.t[n - 1]:.4g};"
    assert where in str(caught.value)


def test_a_map_keeps_the_step_at_which_it_stopped_though_the_first_call_did_not_end(ctrl_c_in_call):
    """A call that takes long is waited for; then the only saved point is x_k = (1 - h λ)^k x_0."""
    ctrl_c_in_call(1)
    with pytest.raises(Interrupted, match="was stopped at step 8;") as caught:
        iterate(SGD(0.1), bowl, 1000, save_every=1000)
    run = caught.value.partial
    np.testing.assert_allclose(run.t, [0, 0.8], rtol=1e-15)
    np.testing.assert_allclose(run.x[1], (1 - 0.1 * CURVATURES) ** 8 * [1, -1], rtol=1e-14)
    np.testing.assert_allclose(run.loss[1], run.x[1] ** 2 @ CURVATURES / 2, rtol=1e-14)


def test_a_flow_keeps_the_time_at_which_it_stopped(ctrl_c_in_call, monkeypatch):
    """The only saved point is then x(t) = exp(-λ t) x(0) at the time t of the last call."""
    monkeypatch.setattr(calls, "TARGET_SECONDS_PER_CALL", 1e-9)
    ctrl_c_in_call(5)
    with pytest.raises(Interrupted) as caught:
        integrate(SGD(0.1), bowl, 1000, save_every=1000)
    run = caught.value.partial
    assert run.stats["solver_steps"] == 5 and run.stats["first_bad_step"] == 1000
    t = run.t[1]
    assert run.t[0] == 0 < t < 1 and f"was stopped at t = {t:.4g};" in str(caught.value)
    np.testing.assert_allclose(run.x[1], np.exp(-CURVATURES * t) * [1, -1], rtol=1e-8)
    np.testing.assert_allclose(run.loss[1], run.x[1] ** 2 @ CURVATURES / 2, rtol=1e-14)


@pytest.mark.parametrize("cause", ["is sought", "is stiffness"])
def test_ctrl_c_after_the_solver_used_up_its_steps_keeps_the_flow(
    cause, ctrl_c_in_call, monkeypatch
):
    """The first step of the implicit solver does not come as far as the explicit solver did."""

    def is_sliding(*_):
        if cause == "is sought":
            raise KeyboardInterrupt
        return False

    monkeypatch.setattr(flows, "is_sliding", is_sliding)
    monkeypatch.setattr(calls, "TARGET_SECONDS_PER_CALL", 1e9)
    ctrl_c_in_call(2)
    with pytest.raises(Interrupted, match="was stopped at t = ") as caught:
        integrate(SGD(0.1), bowl, 40, max_steps=20)
    run = caught.value.partial
    n = int(run.finite.sum())
    np.testing.assert_allclose(run.x[:n, 0], np.exp(-run.t[:n]), rtol=1e-8)
    assert run.status == Status.interrupted and 2 < n < 41 and run.stats["solver"] == "Tsit5"


@pytest.mark.parametrize("save_every", [1, 300])
def test_the_calls_into_which_a_map_is_split_change_no_bit(save_every, monkeypatch):
    run = iterate(Momentum(0.01), bowl, 900, save_every=save_every)
    monkeypatch.setattr(calls, "FIRST_CALL_STEPS", 7)
    monkeypatch.setattr(maps, "BYTES_PER_CALL", 1000)
    again = iterate(Momentum(0.01), bowl, 900, save_every=save_every)
    in_one = jax.jit(lambda rate: iterate(Momentum(rate), bowl, 900, save_every=save_every))(0.01)
    for ours, split, one in zip(*map(jax.tree.leaves, (run.y, again.y, in_one.y)), strict=True):
        np.testing.assert_array_equal(ours, split)
        np.testing.assert_allclose(ours, one, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("solver", "loss", "max_steps", "status"),
    [
        (diffrax.Tsit5(), "bowl", 10**9, "ok"),
        (diffrax.Tsit5(), "bowl", 8, "max_steps"),
        (diffrax.Tsit5(), "cubic", 500, "diverged"),
        (diffrax.Kvaerno5(), "bowl", 10**9, "ok"),
        (diffrax.Euler(), "bowl", 10**9, "ok"),
    ],
)
def test_the_calls_into_which_a_flow_is_split_change_no_bit(
    solver, loss, max_steps, status, monkeypatch
):
    monkeypatch.setattr(flows, "is_sliding", lambda *_: False)
    problem = polynomial(loss, [1.0, 1.0])
    options = {"solver": solver, "max_steps": max_steps, "rtol": 1e-5, "throw": False}
    results = []
    for seconds_per_call in (1e9, 1e-9):
        monkeypatch.setattr(calls, "TARGET_SECONDS_PER_CALL", seconds_per_call)
        run = integrate(Momentum(0.01), problem, 40, **options)
        results.append((run.t, run.y, run.loss, run.grad_norm, run.result, run.stats))
    assert run.status.name == status
    for one, many in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_array_equal(one, many)


def test_the_calls_of_a_flow_take_the_steps_of_one_solve_by_diffrax(monkeypatch):
    """Inside of a transformation, and for a trajectory that is large, it is one call."""
    in_calls = integrate(Momentum(0.01), bowl, 40)
    monkeypatch.setattr(flows, "MOST_BYTES", 0)
    in_one = integrate(Momentum(0.01), bowl, 40)
    assert in_calls.stats["solver_steps"] == in_one.stats["solver_steps"]
    rows = [(run.t, run.y, run.loss, run.grad_norm) for run in (in_calls, in_one)]
    for a, b in zip(*map(jax.tree.leaves, rows), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)
