"""A sweep piece by piece: as many runs at once as memory, cores and patience allow, and what is finished is kept."""

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
from . import lanes
from .batches import is_key
from .iterate import decode_failure
from .lanes import Member, Plan
from .prepare import fit_to_start, flatten_loss
from .trajectory import Status

PATIENCE = (
    0.25  # seconds that a call into compiled code should take, since nothing can interrupt it
)
WORK = (
    10**8
)  # floating-point operations that a device may do in the first call, when its speed is not known yet
LOOKS = 64  # points that a call may bring
CHUNK = 2**16  # runs that a call may hold on each device
CACHE = 2**16  # bytes of a core's cache that a block may fill
WIDEST = 1024  # lanes; XLA's compiler for CPUs sums over the coordinates of wider blocks in slow loops apart


class Work(NamedTuple):
    """What is asked: runs over `batch`, the look of one, how many steps, how many from one kept point to the next.

    - `numbers`, `starts`: what differs from run to run, numbers `(batch)` and starts `(leading axes, shape of a leaf)`;
      `page`, `loss`: what all share. - `one`: a position as a vector.
    - `points`: whether positions and gradient norms are kept at every look, or only the last.
    """

    numbers: PyTree
    optimizer: AbstractOptimizer
    loss: Callable
    starts: PyTree
    leading: int
    batch: tuple[int, ...]
    one: np.ndarray
    steps: int
    every: int
    points: bool

    @property
    def runs(self) -> int:
        return math.prod(self.batch)

    @property
    def looks(self) -> int:
        """How many points are kept of a run; of one that keeps the last alone, the start is seen, too."""
        return self.steps // self.every + 1


class Found(NamedTuple):
    """What is known of every run, `(runs, ...)`; NaN and `Status.interrupted` where nothing is known yet."""

    x: Any
    loss: Any
    grad_norm: Any
    result: Any
    first_bad_step: Any


class Crowded(Exception):
    """Memory ran out."""


class Chunks:
    """The runs, as they are done: `run` does them, and what it found so far is in `found`."""

    def __init__(self, work: Work, mesh: Mesh, memory: int):
        self.work, self.mesh = work, mesh
        runs, kept, dtype = work.runs, (work.looks,) if work.points else (), work.one.dtype
        self.found = Found(
            np.full((runs, *kept, work.one.size), np.nan, dtype),
            np.full((runs, work.looks), np.nan, dtype),
            np.full((runs, *kept), np.nan, dtype),
            np.full(runs, int(Status.interrupted)),
            np.full(runs, -1),
        )
        self.member = _template(work)
        self.optimizer, self.loss = lanes.everywhere(mesh, (work.optimizer, work.loss))
        self.stop, self.writing, self.compiling = (
            threading.Event(),
            threading.Lock(),
            threading.Lock(),
        )
        self.warm = False
        cores = (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
        on_cpu = mesh.devices.flat[0].platform == "cpu"
        self.workers = (
            1 if jax.process_count() > 1 else max(cores // mesh.size if on_cpu else 1, 2)
        )  # one prepares
        self._lay_out(memory)

    def _lay_out(self, memory: int) -> None:
        """How many lanes and blocks a call has, and how many steps the first one takes."""
        work, devices = self.work, self.mesh.size
        looks = min(work.looks, LOOKS)
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(self.member))
        seen = looks * (2 + work.one.size * work.points) * work.one.dtype.itemsize
        flops = _flops(work, self.member)
        most = min(
            CHUNK,
            memory // (self.workers * devices * (4 * size + 2 * seen)),
            int(WORK / flops) or 1,
        )
        if most < 1:
            raise InvalidValue(
                f"`memory` is {memory} bytes, and a run takes {4 * size + 2 * seen} while it lasts; allow for "
                f"{self.workers * devices} such runs at least."
            )
        wide = (
            max(8, min(WIDEST, CACHE // size))
            if self.mesh.devices.flat[0].platform == "cpu"
            else CHUNK
        )
        share = -(-work.runs // (devices * self.workers))
        self.lanes = min(1 << (min(wide, most).bit_length() - 1), 1 << (share - 1).bit_length())
        rounds = -(-share // (most // self.lanes * self.lanes))
        self.blocks = -(-share // (rounds * self.lanes))
        self.pace = max(1, int(WORK / (flops * self.lanes * self.blocks)))

    @property
    def size(self) -> int:
        """Runs in one call."""
        return self.lanes * self.blocks * self.mesh.size

    def run(self) -> Found:
        """Do all runs; Ctrl-C ends them early."""
        from tqdm import tqdm  # only here: who never sweeps need not wait for it

        total = self.work.runs * max(self.work.steps, 1)
        bar = tqdm(total=total, unit="step", unit_scale=True, disable=None, leave=False, delay=1)
        with bar:
            try:
                while len(rest := np.flatnonzero(self.found.result == Status.interrupted)):
                    try:
                        self._all(rest, bar)
                    except Crowded as crowded:
                        self._halve(crowded)
            except KeyboardInterrupt:
                done = int((self.found.result != Status.interrupted).sum())
                warnings.warn(
                    f"stopped by you after {done} of {self.work.runs} runs; the rest is NaN.",
                    stacklevel=3,
                )
        return self.found

    def _all(self, rest: np.ndarray, bar: Any) -> None:
        pieces = [rest[i : i + self.size] for i in range(0, len(rest), self.size)]
        pool, x64 = ThreadPoolExecutor(self.workers), jnp.result_type(float) == np.float64
        try:
            for piece in as_completed(
                [pool.submit(self._piece, rows, x64, bar) for rows in pieces]
            ):
                piece.result()
        except Crowded:
            pool.shutdown(cancel_futures=True)
            raise
        except BaseException:
            with self.writing:
                self.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()

    def _halve(self, crowded: Crowded) -> None:
        if self.size == self.mesh.size:
            raise EnvironmentProblem(
                f"memory ran out with {self.mesh.size} runs at a time; use fewer coordinates, or a larger machine."
            ) from crowded
        self.blocks, self.lanes = (
            (self.blocks // 2, self.lanes) if self.blocks > 1 else (1, self.lanes // 2)
        )
        self.warm = False

    def _piece(self, rows: np.ndarray, x64: bool, bar: Any) -> None:
        """One chunk from its start to its end; a thread has its own precision, and must be told."""
        with jax.enable_x64(x64):
            work, found = self.work, self.found
            members, k, row, slope, norm = self._members(rows), 0, 0, np.empty(0), np.empty(0)
            while row < work.looks:
                plan, at = self._plan(k)
                members, seen, seconds = self._call(members, plan)
                kept = np.flatnonzero(plan.kept)
                loss, norm, *x = (
                    lanes.gathered(a)[: len(rows), kept] for a in seen if a is not None
                )
                slope = slope if k else norm[:, 0]
                k, begun, row = at, row, row + len(kept)
                with self.writing:
                    if self.stop.is_set():
                        return
                    found.loss[rows, begun:row] = loss
                    if work.points:
                        found.grad_norm[rows, begun:row], found.x[rows, begun:row] = norm, x[0]
                    bar.update(int(plan.steps.sum()) * len(rows))
                    self._learn(int(plan.steps.sum()), *seconds)
            fault, moved = (lanes.gathered(a)[: len(rows)] for a in (members.fault, members.moved))
            bad, status = decode_failure(fault)
            still = (status == Status.ok) & ~moved & (slope > 0) & (work.steps > 0)
            status = np.where(still, int(Status.stalled), status)
            end = lanes.gathered(members.y.x)[: len(rows)]
            with self.writing:
                if self.stop.is_set():
                    return
                if not work.points:
                    found.x[rows], found.grad_norm[rows] = end, norm[:, -1]
                found.first_bad_step[rows], found.result[rows] = bad, status

    def _call(self, members: Member, plan: Plan):
        """One call into compiled code, how long it took, and whether that may hold a compilation."""
        begun, cold = time.perf_counter(), not self.warm
        try:
            with self.compiling if cold else nullcontext():
                members, seen = lanes.run(
                    self.mesh, members, self.optimizer, self.loss, plan, self.work.points
                )
                jax.block_until_ready(seen)
            self.warm = True
        except (MemoryError, jax.errors.JaxRuntimeError) as error:
            if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
                raise Crowded from error
            raise
        return members, seen, (time.perf_counter() - begun, cold)

    def _plan(self, k: int) -> tuple[Plan, int]:
        """The next call from step k on: to the kept points, as far as the pace allows; and the step where it ends."""
        looks, left, entries, at = min(self.work.looks, LOOKS), self._agreed(), [], k
        if k == 0:
            entries.append((0, True))
        while len(entries) < looks and left > 0 and at < self.work.steps:
            steps = min(self.work.every - at % self.work.every, left)
            at, left = at + steps, left - steps
            entries.append((steps, at % self.work.every == 0))
        entries += [(0, False)] * (looks - len(entries))
        steps, kept = zip(*entries, strict=True)
        return Plan(np.int32(k), np.array(steps, np.int32), np.array(kept)), at

    def _agreed(self) -> int:
        """How many steps the next call takes; several processes must agree on it."""
        if jax.process_count() == 1:
            return self.pace
        from jax.experimental.multihost_utils import broadcast_one_to_all

        return int(broadcast_one_to_all(np.int32(self.pace)))

    def _learn(self, steps: int, seconds: float, cold: bool) -> None:
        """A call that may have compiled took longer than its steps: it can only quicken the pace."""
        if steps:
            pace = max(1, int(min(8 * self.pace, steps * PATIENCE / seconds)))
            self.pace = max(self.pace, pace) if cold else pace

    def _members(self, rows: np.ndarray) -> Member:
        """These runs at their start, and the last of them once more until the chunk is full."""
        rows = np.concatenate([rows, np.repeat(rows[-1:], self.size - len(rows))])
        batch = self.work.batch or (1,)

        def dealt(leaf, axes):
            if is_key(leaf):
                words = dealt(np.asarray(jax.random.key_data(leaf)), axes)
                return jax.random.wrap_key_data(
                    jnp.moveaxis(words, 1, -1), impl=jax.random.key_impl(leaf)
                )
            leaf = np.asarray(leaf)
            own = leaf.shape[axes:]
            if leaf.shape[:axes] == batch:
                return lanes.dealt(self.mesh, leaf.reshape(-1, *own)[rows], self.lanes)
            spread = np.broadcast_to(leaf, (*batch, *own))[np.unravel_index(rows, batch)]
            return lanes.dealt(self.mesh, spread, self.lanes)

        blank = self.member._replace(numbers=None, x0=None)
        return jax.tree.map(
            lambda leaf: lanes.blank(self.mesh, leaf, self.size, self.lanes), blank
        )._replace(
            numbers=jax.tree.map(lambda leaf: dealt(leaf, leaf.ndim), self.work.numbers),
            x0=jax.tree.map(lambda leaf: dealt(leaf, self.work.leading), self.work.starts),
        )


def _template(work: Work) -> Member:
    """The shapes of one run."""
    numbers = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((), leaf.dtype), work.numbers)
    x0 = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[work.leading :], leaf.dtype), work.starts
    )

    def begin(numbers, x0):
        optimizer, x, grad = _ready(numbers, work.optimizer, x0, work.loss)
        return optimizer.init(x, grad)

    y = jax.eval_shape(begin, numbers, x0)
    return Member(
        numbers, x0, y, jax.ShapeDtypeStruct((), np.int32), jax.ShapeDtypeStruct((), bool)
    )


def _flops(work: Work, member: Member) -> float:
    """Floating-point operations of one step, by the compiler's own estimate."""
    shared, static = eqx.partition((work.optimizer, work.loss), eqx.is_array)
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), (shared, member)
    )
    (arrays, outline), (functions, form) = jax.tree.flatten(shapes), jax.tree.flatten(static)
    return max(_counted(tuple(arrays), outline, tuple(functions), form), 10.0 * work.one.size)


@lru_cache(256)
def _counted(arrays: tuple, outline: Any, functions: tuple, form: Any) -> float:
    shared, member = jax.tree.unflatten(outline, arrays)
    static = jax.tree.unflatten(form, functions)

    def step(shared, member):
        optimizer, loss = eqx.combine(shared, static)
        optimizer, _, grad = _ready(member.numbers, optimizer, member.x0, loss)
        return optimizer.step(optimizer.h, member.y, grad)

    return (jax.jit(step).lower(shared, member).cost_analysis() or {}).get("flops", 0.0)


def _ready(numbers: PyTree, optimizer: AbstractOptimizer, x0: PyTree, loss: Callable):
    x, _, grad = flatten_loss(loss, x0)
    return fit_to_start(eqx.combine(numbers, optimizer), x0, x.dtype), x, grad
