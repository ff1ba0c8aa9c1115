"""Many runs as one compiled program: side by side in lanes, lanes in blocks, blocks on devices.

The lane is the last axis of every array. A block holds as many runs as fit into the cache of a
core through all their steps. A device computes its blocks one after another. The devices share
the blocks evenly and never wait for one another.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from ..optimizers import AbstractOptimizer
from .iterate import record_failure
from .prepare import all_finite, fit_to_start, prepare_loss

STRIDE = 32  # steps between two checks of divergence
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

    def step_unchecked(k, steps):
        def advance_run(run, optimizer, x, grad, *_):
            return jax.lax.fori_loop(
                k, k + steps, lambda k, y: optimizer.step(k * optimizer.h, y, grad), run.y
            )

        return lanes(advance_run)

    def step_checked(k, steps):
        def advance_run(run, optimizer, x, grad, observe, squared_radius):
            def one_step(k, carry):
                y, failure = carry
                y = optimizer.step(k * optimizer.h, y, grad)
                radius = squared_radius(y.x)
                finite = (radius <= 1) & all_finite(y[1:])
                return y, record_failure(failure, k + 1, radius > 1, finite)

            return jax.lax.fori_loop(k, k + steps, one_step, (run.y, run.failure))

        return lanes(advance_run)

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

    def steps_to_next_observation(carry, entry):
        (k, block), (steps, saved) = carry, entry

        def stride(i, block):
            now, n = k + STRIDE * i, jnp.minimum(STRIDE, steps - STRIDE * i)
            after = block._replace(y=step_unchecked(now, n)(block))
            y, failure = jax.lax.cond(
                lanes(has_failed)(after).any(),
                step_checked(now, n),
                lambda _: (after.y, block.failure),
                block,
            )
            return block._replace(y=y, failure=failure)

        block = jax.lax.fori_loop(0, (steps + STRIDE - 1) // STRIDE, stride, block)
        failure, moved, observed = observe_runs(k + steps, saved)(block)
        return (k + steps, block._replace(failure=failure, moved=moved)), observed

    block = block._replace(y=lanes(begin)(block))
    (_, block), observed = jax.lax.scan(
        steps_to_next_observation, (plan.k, block), (plan.steps, plan.saved)
    )
    return block, observed


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
