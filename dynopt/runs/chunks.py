"""A sweep in chunks: as many runs at a time as memory and cores allow; what is finished is kept."""

import math
import os
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree

from ..errors import EnvironmentProblem, InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.base import must_be_point
from . import lanes
from .batches import is_key
from .calls import steps_for_next_call
from .iterate import decode_failure
from .lanes import CallPlan, RunState
from .prepare import fit_to_start, flatten_loss
from .status import Status

# The floating-point operations of a device in the first call, when its speed is not yet known.
FIRST_CALL_FLOPS = 10**8
MAX_SAVES_PER_CALL = 64  # saved points that a call may return
MAX_RUNS_PER_DEVICE = 2**16  # runs that a call may hold on each device
CACHE_BYTES = 2**16  # the part of a core's cache that a block may fill
# Wider blocks of few coordinates leave the first cache of a core.
MAX_LANES = 512


class SweepTask(NamedTuple):
    """What a sweep is asked for.

    - `numbers`, `starts`: what differs from run to run; numbers of shape `(batch)`, and starts of
      shape `(leading axes, shape of a leaf)`.
    - `optimizer`, `loss`: what all runs share.
    - `leading`: the number of leading axes of the starts.
    - `batch`: the shape of the batch.
    - `position`: a position as one vector of zeros, for its size and dtype.
    - `steps`: the number of steps; `save_every`: the steps from one saved point to the next.
    - `keep_points`: whether the position and the gradient norm of every saved point are kept. If
      not, all losses are kept, but only the last position.
    """

    numbers: PyTree
    optimizer: AbstractOptimizer
    loss: Callable
    starts: PyTree
    leading: int
    batch: tuple[int, ...]
    position: np.ndarray
    steps: int
    save_every: int
    keep_points: bool

    @property
    def runs(self) -> int:
        return math.prod(self.batch)

    @property
    def num_saved(self) -> int:
        """Saved points per run, including the start."""
        return self.steps // self.save_every + 1


class Outcome(NamedTuple):
    """The result of every run, `(runs, ...)`; NaN and `Status.interrupted` where there is none."""

    x: Any
    loss: Any
    grad_norm: Any
    result: Any
    first_bad_step: Any


class OutOfMemory(Exception):
    """A device or the machine has no memory left for a chunk."""


class Chunks:
    """The runs of a sweep. `run` does them; what is known so far is in `outcome`."""

    def __init__(self, task: SweepTask, mesh: Mesh, memory: int):
        self.task, self.mesh = task, mesh
        runs, dtype = task.runs, task.position.dtype
        points_axis = (task.num_saved,) if task.keep_points else ()
        self.outcome = Outcome(
            np.full((runs, *points_axis, task.position.size), np.nan, dtype),
            np.full((runs, task.num_saved), np.nan, dtype),
            np.full((runs, *points_axis), np.nan, dtype),
            np.full(runs, int(Status.interrupted)),
            np.full(runs, -1),
        )
        self.run_shapes = _run_shapes(task)
        self.optimizer, self.loss = lanes.replicate(mesh, (task.optimizer, task.loss))
        self.stop = threading.Event()
        self.writing, self.compiling = threading.Lock(), threading.Lock()
        self.compiled = False
        self.workers = self._count_workers()
        self._choose_sizes(memory)

    def _count_workers(self) -> int:
        """The number of threads; at least two, so that one prepares a chunk while one computes."""
        if jax.process_count() > 1:
            return 1
        cores = os.cpu_count() or 1
        if hasattr(os, "sched_getaffinity"):
            cores = len(os.sched_getaffinity(0))
        return max(cores // self.mesh.size if self._on_cpu else 1, 2)

    @property
    def _on_cpu(self) -> bool:
        return self.mesh.devices.flat[0].platform == "cpu"

    def _choose_sizes(self, memory: int) -> None:
        """How many lanes and blocks a call has, and how many steps the first one takes."""
        task, devices = self.task, self.mesh.size
        shapes = jax.tree.leaves(self.run_shapes)
        state_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in shapes)
        numbers_per_save = 2 + task.position.size * task.keep_points
        saves = min(task.num_saved, MAX_SAVES_PER_CALL)
        saved_bytes = saves * numbers_per_save * task.position.dtype.itemsize
        run_bytes = 4 * state_bytes + 2 * saved_bytes
        flops = _flops(task, self.run_shapes)
        max_runs = min(
            MAX_RUNS_PER_DEVICE,
            memory // (self.workers * devices * run_bytes),
            int(FIRST_CALL_FLOPS / flops) or 1,
        )
        if max_runs < 1:
            raise InvalidValue(
                f"`memory` is {memory} bytes, and a run takes {run_bytes} while it lasts; allow "
                f"for {self.workers * devices} such runs at least."
            )
        widest = MAX_RUNS_PER_DEVICE
        if self._on_cpu:
            widest = max(8, min(MAX_LANES, CACHE_BYTES // state_bytes))
        runs_per_worker = -(-task.runs // (devices * self.workers))
        self.lanes = min(
            1 << (min(widest, max_runs).bit_length() - 1), 1 << (runs_per_worker - 1).bit_length()
        )
        calls = -(-runs_per_worker // (max_runs // self.lanes * self.lanes))
        self.blocks = -(-runs_per_worker // (calls * self.lanes))
        self.steps_per_call = max(1, int(FIRST_CALL_FLOPS / (flops * self.lanes * self.blocks)))

    @property
    def size(self) -> int:
        """Runs in one call."""
        return self.lanes * self.blocks * self.mesh.size

    def run(self) -> Outcome:
        """Do all runs; Ctrl-C ends them early."""
        from tqdm import tqdm  # imported here, as only sweeps need it

        total = self.task.runs * max(self.task.steps, 1)
        bar = tqdm(total=total, unit="step", unit_scale=True, disable=None, leave=False, delay=1)
        with bar:
            try:
                while len(rows := np.flatnonzero(self.outcome.result == Status.interrupted)):
                    try:
                        self._run_rows(rows, bar)
                    except OutOfMemory as error:
                        self._halve(error)
            except KeyboardInterrupt:
                done = int((self.outcome.result != Status.interrupted).sum())
                warnings.warn(
                    f"you stopped the sweep after {done} of {self.task.runs} runs; the others are "
                    "NaN.",
                    stacklevel=3,
                )
        return self.outcome

    def _run_rows(self, rows: np.ndarray, bar: Any) -> None:
        """Do these runs, chunk by chunk, in several threads."""
        chunks = [rows[i : i + self.size] for i in range(0, len(rows), self.size)]
        pool, x64 = ThreadPoolExecutor(self.workers), jnp.result_type(float) == np.float64
        try:
            pending = [pool.submit(self._run_chunk, chunk, x64, bar) for chunk in chunks]
            for finished in as_completed(pending):
                finished.result()
        except OutOfMemory:
            pool.shutdown(cancel_futures=True)
            raise
        except BaseException:
            with self.writing:
                self.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()

    def _halve(self, error: OutOfMemory) -> None:
        if self.size == self.mesh.size:
            raise EnvironmentProblem(
                f"memory ran out with {self.mesh.size} runs at a time; use fewer coordinates, or "
                "a larger machine."
            ) from error
        if self.blocks > 1:
            self.blocks = self.blocks // 2
        else:
            self.lanes = self.lanes // 2
        self.compiled = False

    def _run_chunk(self, rows: np.ndarray, x64: bool, bar: Any) -> None:
        """One chunk from its start to its end.

        - `x64`: a thread has its own precision, and must be told which.
        """
        with jax.enable_x64(x64):
            task, outcome = self.task, self.outcome
            runs, k, saved, first_norm, norm = self._start(rows), 0, 0, np.empty(0), np.empty(0)
            while saved < task.num_saved:
                plan, next_k = self._plan(k)
                runs, observed, seconds, may_compile = self._call(runs, plan)
                columns = np.flatnonzero(plan.saved)
                loss, norm, *x = (
                    lanes.unshard_runs(array)[: len(rows), columns]
                    for array in observed
                    if array is not None
                )
                first_norm = first_norm if k else norm[:, 0]
                k, begin, saved = next_k, saved, saved + len(columns)
                with self.writing:
                    if self.stop.is_set():
                        return
                    outcome.loss[rows, begin:saved] = loss
                    if task.keep_points:
                        outcome.grad_norm[rows, begin:saved] = norm
                        outcome.x[rows, begin:saved] = x[0]
                    bar.update(int(plan.steps.sum()) * len(rows))
                    self._update_steps_per_call(int(plan.steps.sum()), seconds, may_compile)
            failure = lanes.unshard_runs(runs.failure)[: len(rows)]
            moved = lanes.unshard_runs(runs.moved)[: len(rows)]
            first_bad_step, status = decode_failure(failure)
            never_moved = ~moved & (first_norm > 0) & (task.steps > 0)
            stalled = (status == Status.ok) & never_moved
            status = np.where(stalled, int(Status.stalled), status)
            last_x = lanes.unshard_runs(runs.y.x)[: len(rows)]
            with self.writing:
                if self.stop.is_set():
                    return
                if not task.keep_points:
                    outcome.x[rows], outcome.grad_norm[rows] = last_x, norm[:, -1]
                outcome.first_bad_step[rows], outcome.result[rows] = first_bad_step, status

    def _call(self, runs: RunState, plan: CallPlan) -> tuple[RunState, Any, float, bool]:
        """One call of compiled code, its seconds, and whether they may include a compilation."""
        begin, may_compile = time.perf_counter(), not self.compiled
        try:
            with self.compiling if may_compile else nullcontext():
                runs, observed = lanes.run(
                    self.mesh, runs, self.optimizer, self.loss, plan, self.task.keep_points
                )
                jax.block_until_ready(observed)
            self.compiled = True
        except (MemoryError, jax.errors.JaxRuntimeError) as error:
            if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
                raise OutOfMemory from error
            raise
        return runs, observed, time.perf_counter() - begin, may_compile

    def _plan(self, k: int) -> tuple[CallPlan, int]:
        """The call from step `k` on, and the step at which it ends.

        It goes from saved point to saved point, as far as `steps_per_call` allows.
        """
        task, saves = self.task, min(self.task.num_saved, MAX_SAVES_PER_CALL)
        left, entries = self._same_on_all_hosts(self.steps_per_call), []
        if k == 0:
            entries.append((0, True))
        end = k
        while len(entries) < saves and left > 0 and end < task.steps:
            steps = min(task.save_every - end % task.save_every, left)
            end, left = end + steps, left - steps
            entries.append((steps, end % task.save_every == 0))
        entries += [(0, False)] * (saves - len(entries))
        steps, saved = zip(*entries, strict=True)
        return CallPlan(np.int32(k), np.array(steps, np.int32), np.array(saved)), end

    def _same_on_all_hosts(self, number: int) -> int:
        """The number that the first of several processes has."""
        if jax.process_count() == 1:
            return number
        from jax.experimental.multihost_utils import broadcast_one_to_all

        return int(broadcast_one_to_all(np.int32(number)))

    def _update_steps_per_call(self, steps: int, seconds: float, may_compile: bool) -> None:
        """Learn from a call. One that may have compiled can only raise the number of steps."""
        if steps:
            wanted = steps_for_next_call(steps, seconds, self.steps_per_call)
            self.steps_per_call = max(self.steps_per_call, wanted) if may_compile else wanted

    def _start(self, rows: np.ndarray) -> RunState:
        """These runs before their first step, the last one repeated until the chunk is full."""
        rows = np.concatenate([rows, np.repeat(rows[-1:], self.size - len(rows))])
        batch = self.task.batch or (1,)

        def shard(leaf, axes):
            """The rows of a leaf whose first `axes` axes are broadcast to the batch."""
            if is_key(leaf):
                words = shard(np.asarray(jax.random.key_data(leaf)), axes)
                return jax.random.wrap_key_data(
                    jnp.moveaxis(words, 1, -1), impl=jax.random.key_impl(leaf)
                )
            leaf = np.asarray(leaf)
            shape = leaf.shape[axes:]
            if leaf.shape[:axes] == batch:
                return lanes.shard_runs(self.mesh, leaf.reshape(-1, *shape)[rows], self.lanes)
            spread = np.broadcast_to(leaf, (*batch, *shape))[np.unravel_index(rows, batch)]
            return lanes.shard_runs(self.mesh, spread, self.lanes)

        without_inputs = self.run_shapes._replace(numbers=None, x0=None)
        empty = jax.tree.map(
            lambda leaf: lanes.empty_runs(self.mesh, leaf, self.size, self.lanes), without_inputs
        )
        return empty._replace(
            numbers=jax.tree.map(lambda leaf: shard(leaf, leaf.ndim), self.task.numbers),
            x0=jax.tree.map(lambda leaf: shard(leaf, self.task.leading), self.task.starts),
        )


def _run_shapes(task: SweepTask) -> RunState:
    """The shapes and dtypes of one run."""
    numbers = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((), leaf.dtype), task.numbers)
    x0 = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[task.leading :], leaf.dtype), task.starts
    )

    def begin(numbers, x0):
        optimizer, x, grad = _prepare(numbers, task.optimizer, x0, task.loss)
        return must_be_point(optimizer.init(x, grad))

    y = jax.eval_shape(begin, numbers, x0)
    failure, moved = jax.ShapeDtypeStruct((), np.int32), jax.ShapeDtypeStruct((), bool)
    return RunState(numbers, x0, y, failure, moved)


def _flops(task: SweepTask, run_shapes: RunState) -> float:
    """Floating-point operations of one step, as the compiler estimates them."""
    shared, static = eqx.partition((task.optimizer, task.loss), eqx.is_array)
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), (shared, run_shapes)
    )
    (leaves, structure), (functions, form) = jax.tree.flatten(shapes), jax.tree.flatten(static)
    estimate = _estimated_flops(tuple(leaves), structure, tuple(functions), form)
    return max(estimate, 10.0 * task.position.size)


@lru_cache(256)
def _estimated_flops(leaves: tuple, structure: Any, functions: tuple, form: Any) -> float:
    shared, run_shapes = jax.tree.unflatten(structure, leaves)
    static = jax.tree.unflatten(form, functions)

    def step(shared, run):
        optimizer, loss = eqx.combine(shared, static)
        optimizer, _, grad = _prepare(run.numbers, optimizer, run.x0, loss)
        return optimizer.step(optimizer.h, run.y, grad)

    return (jax.jit(step).lower(shared, run_shapes).cost_analysis() or {}).get("flops", 0.0)


def _prepare(numbers: PyTree, optimizer: AbstractOptimizer, x0: PyTree, loss: Callable):
    """The optimizer of one run, its start as one vector, and the gradient."""
    x, _, grad = flatten_loss(loss, x0)
    return fit_to_start(eqx.combine(numbers, optimizer), x0, x.dtype), x, grad
