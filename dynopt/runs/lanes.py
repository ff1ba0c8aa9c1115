"""Many runs as one compiled program: side by side in lanes, lanes in blocks, blocks on devices.

The lane is the last axis of every array. A block holds as many runs as fit into the cache of a
core through all their steps. A device computes its blocks one after another. The devices share
the blocks evenly and never wait for one another.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from ..errors import InvalidType, InvalidValue
from ..optimizers import AbstractOptimizer
from ..scalar import Program, evaluate, trace
from .iterate import record_failure
from .prepare import all_finite, fit_to_start, flatten_loss, prepare_loss

STRIDE = 32  # steps between two checks of divergence
MAX_OPERATIONS = 1000  # of a step that is computed scalar by scalar
MAX_NUMBERS = 200  # of one run and of what all runs share, for such a step
SPLIT, WHOLE = PartitionSpec("runs"), PartitionSpec()


class RunState(NamedTuple):
    """One run: what it was given, and how far it has come.

    - `numbers`, `x0`: its own hyperparameters and its start.
    - `y`: its point of phase space.
    - `failure`: 0, or when and how it failed, as `record_failure` says.
    - `moved`: whether a saved position differs from the start.
    """

    numbers: PyTree
    x0: PyTree
    y: Any
    failure: Any
    moved: Any


class CallPlan(NamedTuple):
    """What one call of compiled code does with every run, from step `k` on.

    - `steps`: the numbers of steps to take before each observation of the run.
    - `saved`: whether the observation is part of the result.
    """

    k: Any
    steps: Any
    saved: Any


def advance(
    block: RunState,
    optimizer: AbstractOptimizer,
    loss: Callable,
    plan: CallPlan,
    keep_points: bool,
) -> tuple[RunState, Any]:
    """Take a block of runs, arrays of shape `(..., lanes)`, through the steps of a plan.

    It returns the block and what was observed: losses, gradient norms and, if they are kept, the
    positions.

    A check for divergence at every step would cost much compared with the step itself. So the runs
    take strides without a check. If one has diverged or is nonfinite after a stride, the stride is
    taken again with a check at every step.
    """

    def lanes(function):
        def one_run(run):
            x, *of_loss = prepare_loss(loss, run.x0)
            fitted = fit_to_start(eqx.combine(run.numbers, optimizer), run.x0, x.dtype)
            return function(run, fitted, x, *of_loss)

        return jax.vmap(one_run, in_axes=-1, out_axes=-1)

    def begin(run, optimizer, x, grad, *_):
        first = optimizer.init(x, grad)
        return jax.tree.map(lambda start, now: jnp.where(plan.k == 0, start, now), first, run.y)

    stepper = _stepper(block, optimizer, loss)

    def step_unchecked(k, steps, block):
        step, y = partial(stepper.step, block), stepper.split(block.y)
        return stepper.join(jax.lax.fori_loop(k, k + steps, step, y))

    def step_checked(k, steps, block):
        def one_step(k, block):
            def check(run, optimizer, x, grad, observe, squared_radius):
                radius = squared_radius(run.y.x)
                finite = (radius <= 1) & all_finite(run.y[1:])
                return record_failure(run.failure, k + 1, radius > 1, finite)

            y = stepper.join(stepper.step(block, k, stepper.split(block.y)))
            block = block._replace(y=y)
            return block._replace(failure=lanes(check)(block))

        return jax.lax.fori_loop(k, k + steps, one_step, block)

    def has_failed(run, optimizer, x, grad, observe, squared_radius):
        healthy = (squared_radius(run.y.x) <= 1) & all_finite(run.y[1:])
        return (run.failure == 0) & ~healthy

    def observe_runs(k, saved):
        def observe_run(run, optimizer, x, grad, observe, squared_radius):
            observed = observe(run.y.x)
            finite = ~saved | all_finite((run.y, observed))
            failure = record_failure(run.failure, k, False, finite)
            moved = run.moved | (saved & (run.y.x != x).any())
            return failure, moved, (*observed, run.y.x if keep_points else None)

        return lanes(observe_run)

    def take_strides(k, steps, block):
        def stride(i, block):
            now, n = k + STRIDE * i, jnp.minimum(STRIDE, steps - STRIDE * i)
            after = block._replace(y=step_unchecked(now, n, block))
            again = lanes(has_failed)(after).any()
            return jax.lax.cond(again, partial(step_checked, now, n), lambda _: after, block)

        return jax.lax.fori_loop(0, (steps + STRIDE - 1) // STRIDE, stride, block)

    def steps_to_next_observation(carry, entry):
        (k, block), (steps, saved) = carry, entry
        block = take_strides(k, steps, block)
        failure, moved, observed = observe_runs(k + steps, saved)(block)
        return (k + steps, block._replace(failure=failure, moved=moved)), observed

    block = block._replace(y=lanes(begin)(block))
    (_, block), observed = jax.lax.scan(
        steps_to_next_observation, (plan.k, block), (plan.steps, plan.saved)
    )
    return block, observed


class Stepper(NamedTuple):
    """How the runs of a block take a step, and the form that their points of phase space then have.

    - `split`: that form of the points; `join`: its inverse.
    - `step`: takes the block, the number k of the step and the split points to those after it.
    """

    split: Callable
    step: Callable
    join: Callable


def _stepper(block: RunState, optimizer: AbstractOptimizer, loss: Callable) -> Stepper:
    """The traced program of scalars for positions of a few coordinates, and `vmap` for all others.

    In the program each scalar is one vector over the lanes. Its divisions by what is the same in
    all steps, or changes with time alone, are products with a reciprocal.
    """
    shared, static = eqx.partition((optimizer, loss), eqx.is_array)

    def step_of_one(shared, k, numbers, x0, y):
        optimizer, loss = eqx.combine(shared, static)
        x, _, grad = flatten_loss(loss, x0)
        fitted = fit_to_start(eqx.combine(numbers, optimizer), x0, x.dtype)
        return fitted.step(k * fitted.h, y, grad)

    def step_of_arrays(block, k, y):
        step = jax.vmap(step_of_one, in_axes=(None, None, -1, -1, -1), out_axes=-1)
        return step(shared, k, block.numbers, block.x0, y)

    of_one_run = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[:-1], leaf.dtype),
        (block.numbers, block.x0, block.y),
    )
    of_all_runs = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), (shared, np.int32())
    )
    program = _program(step_of_one, *of_all_runs, *of_one_run)
    if program is None:
        return Stepper(lambda y: y, step_of_arrays, lambda y: y)
    num_rows = len(program.outputs)
    varying = program.depends_on(range(program.num_inputs - num_rows, program.num_inputs))
    divisors = set(range(program.num_inputs + len(program.operations))) - varying

    def rows(tree):
        return [row for leaf in jax.tree.leaves(tree) for row in leaf.reshape(-1, leaf.shape[-1])]

    def step_of_rows(block, k, y):
        scalars = [scalar for leaf in jax.tree.leaves(shared) for scalar in leaf.reshape(-1)]
        inputs = [*scalars, k, *rows((block.numbers, block.x0)), *y]
        return [
            jnp.broadcast_to(row, y[0].shape)
            for row in evaluate(program, inputs, divisors=divisors)
        ]

    def join(rows):
        leaves, structure = jax.tree.flatten(block.y)
        ends = np.cumsum([math.prod(leaf.shape[:-1]) for leaf in leaves])
        arrays = [
            jnp.stack(rows[end - math.prod(leaf.shape[:-1]) : end]).reshape(leaf.shape)
            for leaf, end in zip(leaves, ends, strict=True)
        ]
        return jax.tree.unflatten(structure, arrays)

    return Stepper(rows, step_of_rows, join)


def _program(step: Callable, *arguments: PyTree) -> Program | None:
    """The step as a program of scalars, or None if it cannot be one, or would be too long."""
    if sum(leaf.size for leaf in jax.tree.leaves(arguments)) > MAX_NUMBERS:
        return None
    try:
        return trace(step, *arguments, max_operations=MAX_OPERATIONS)
    except (InvalidValue, InvalidType):
        return None


@eqx.filter_jit
def run(
    mesh: Mesh,
    runs: RunState,
    optimizer: AbstractOptimizer,
    loss: Callable,
    plan: CallPlan,
    keep_points: bool,
):
    """`advance` for arrays of runs, `(blocks, ..., lanes)`, on all devices of the mesh.

    What was observed has the shape `(blocks, observations, ..., lanes)`.
    """
    shared, static = eqx.partition((optimizer, loss, plan), eqx.is_array)

    def on_one_device(runs, shared):
        optimizer, loss, plan = eqx.combine(shared, static)
        return jax.lax.map(lambda block: advance(block, optimizer, loss, plan, keep_points), runs)

    on_all_devices = jax.shard_map(
        on_one_device, mesh=mesh, in_specs=(SPLIT, WHOLE), out_specs=SPLIT, check_vma=False
    )
    return on_all_devices(runs, shared)


def make_mesh(devices: Sequence[Any]) -> Mesh:
    """The devices as a mesh with one axis, along which the runs are sharded."""
    return Mesh(np.array(devices), ("runs",))


def replicate(mesh: Mesh, tree: PyTree) -> PyTree:
    """A tree whose arrays, which all runs share, are on every device."""

    def on_every_device(leaf: Any) -> Any:
        if not eqx.is_array(leaf):
            return leaf
        return jax.device_put(np.asarray(leaf), NamedSharding(mesh, WHOLE))

    return jax.tree.map(on_every_device, tree)


def shard_runs(mesh: Mesh, array: np.ndarray, lanes: int) -> Array:
    """Runs, `(runs, ...)`, as blocks of lanes, `(blocks, ..., lanes)`, each block on its device."""
    blocks = np.moveaxis(array.reshape(-1, lanes, *array.shape[1:]), 1, -1)
    return jax.make_array_from_callback(
        blocks.shape,
        NamedSharding(mesh, SPLIT),
        lambda part: np.ascontiguousarray(blocks[part]),
    )


def unshard_runs(array: Array) -> np.ndarray:
    """Blocks of lanes as runs along the first axis, from all devices and all processes."""
    if not array.is_fully_addressable:
        from jax.experimental.multihost_utils import process_allgather

        array = process_allgather(array, tiled=True)
    blocks = np.moveaxis(np.asarray(array), -1, 1)
    return blocks.reshape(-1, *blocks.shape[2:])


def empty_runs(mesh: Mesh, leaf: jax.ShapeDtypeStruct, runs: int, lanes: int) -> Array:
    """Zeros for so many runs, in blocks of lanes."""
    shape = (runs // lanes, *leaf.shape, lanes)
    return jnp.zeros(shape, leaf.dtype, device=NamedSharding(mesh, SPLIT))
