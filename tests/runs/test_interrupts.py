"""Ctrl-C ends a long run within a second, and what was done is kept."""

import importlib
import pickle
import signal
import time
from contextlib import contextmanager

import jax
import numpy as np
import pytest
from losses import polynomial

from dynopt import SGD, Momentum, Status, iterate
from dynopt.errors import Interrupted
from dynopt.runs import calls

maps = importlib.import_module("dynopt.runs.iterate")
bowl = polynomial("bowl", [1.0, -1.0])


@contextmanager
def ctrl_c_after(seconds):
    """What Ctrl-C does, at a known time."""
    handler = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    began = time.monotonic()
    try:
        with pytest.raises(Interrupted) as caught:
            yield caught
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert time.monotonic() - began - seconds < 1


def test_ctrl_c_ends_a_map_within_a_second_and_keeps_its_points():
    """x_k = (1 - h λ)^k x_0 on a quadratic, up to the last saved point before the interrupt."""
    with ctrl_c_after(3) as caught:
        iterate(SGD(1e-9), bowl, 10**9, save_every=10**6)
    run, failure = caught.value.partial, str(caught.value)
    k, n = int(run.stats["first_bad_step"]), int(run.finite.sum())
    assert run.status == Status.interrupted and 0 < k < 10**9 and n == k // 10**6 + 1
    exact = np.exp(np.outer(np.arange(n) * 1e6, np.log1p(-1e-9 * np.array([1.0, 4.0]))))
    np.testing.assert_allclose(run.x[:n], exact * [1.0, -1.0], rtol=1e-9)
    assert np.isnan(run.x[n:]).all() and np.isnan(run.grad_norm[n:]).all()
    assert f"the map of SGD(learning_rate=1e-09) on bowl was stopped at step {k}; `par" in failure
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == failure and again.partial.status == Status.interrupted
    assert not isinstance(caught.value, Exception)  # `except Exception` does not hide Ctrl-C


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
