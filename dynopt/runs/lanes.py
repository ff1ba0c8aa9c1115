"""Many runs as one compiled program: runs lie side by side in lanes, lanes in blocks, blocks on devices.

A lane is the last axis of every array. A block is as many runs as the cache of a core holds through all their steps; a
device takes its blocks one after another, and devices share them evenly and never wait for one another.
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

STRIDE = 32  # steps
RUNS, ALL = PartitionSpec("runs"), PartitionSpec()


class Member(NamedTuple):
    """One run: what it was given, and where it is.

    - `numbers`, `x0`: its own hyperparameters and start. - `y`: its point of phase space. - `fault`: 0, or when and how
      it failed. - `moved`: whether it was ever seen elsewhere than at its start.
    """

    numbers: PyTree
    x0: PyTree
    y: Any
    fault: Any
    moved: Any


class Plan(NamedTuple):
    """What one call does to every run, from step `k` on: so many `steps`, then a look, for each entry.

    - `kept`: whether what is seen then is part of the result.
    """

    k: Any
    steps: Any
    kept: Any


def advance(
    block: Member, optimizer: AbstractOptimizer, loss: Callable, plan: Plan, points: bool
) -> tuple[Member, Any]:
    """A block of runs, `(..., lanes)`, through the plan; the losses, gradient norms and, if asked for, positions seen.

    To watch a run at every step costs much beside a plain step. So steps are taken in strides without a look, and a
    stride after which some run is far out, or no longer finite, is taken again under watch.
    """

    def lanes(function):
        def one(member):
            x, grad, look, reach = prepare_loss(loss, member.x0)
            own = fit_to_start(eqx.combine(member.numbers, optimizer), member.x0, x.dtype)
            return function(member, own, x, grad, look, reach)

        return jax.vmap(one, in_axes=-1, out_axes=-1)

    def begin(member, optimizer, x, grad, *_):
        return jax.tree.map(
            lambda start, now: jnp.where(plan.k == 0, start, now), optimizer.init(x, grad), member.y
        )

    def unwatched(k, steps):
        def run(member, optimizer, x, grad, *_):
            return jax.lax.fori_loop(
                k, k + steps, lambda k, y: optimizer.step(k * optimizer.h, y, grad), member.y
            )

        return lanes(run)

    def watched(k, steps):
        def run(member, optimizer, x, grad, look, reach):
            def one(k, carry):
                y, fault = carry
                y = optimizer.step(k * optimizer.h, y, grad)
                out = reach(y.x)
                return y, record_failure(fault, k + 1, out > 1, (out <= 1) & all_finite(y[1:]))

            return jax.lax.fori_loop(k, k + steps, one, (member.y, member.fault))

        return lanes(run)

    def astray(member, optimizer, x, grad, look, reach):
        return (member.fault == 0) & ~((reach(member.y.x) <= 1) & all_finite(member.y[1:]))

    def see(k, kept):
        def look_at(member, optimizer, x, grad, look, reach):
            seen = look(member.y.x)
            fault = record_failure(member.fault, k, False, ~kept | all_finite((member.y, seen)))
            return (
                fault,
                member.moved | (kept & (member.y.x != x).any()),
                (*seen, member.y.x if points else None),
            )

        return lanes(look_at)

    def some(carry, entry):
        (k, block), (steps, kept) = carry, entry

        def stride(i, block):
            now, n = k + STRIDE * i, jnp.minimum(STRIDE, steps - STRIDE * i)
            after = block._replace(y=unwatched(now, n)(block))
            y, fault = jax.lax.cond(
                lanes(astray)(after).any(), watched(now, n), lambda _: (after.y, block.fault), block
            )
            return block._replace(y=y, fault=fault)

        block = jax.lax.fori_loop(0, (steps + STRIDE - 1) // STRIDE, stride, block)
        fault, moved, seen = see(k + steps, kept)(block)
        return (k + steps, block._replace(fault=fault, moved=moved)), seen

    (_, block), seen = jax.lax.scan(
        some, (plan.k, block._replace(y=lanes(begin)(block))), (plan.steps, plan.kept)
    )
    return block, seen


@eqx.filter_jit
def run(
    mesh: Mesh,
    members: Member,
    optimizer: AbstractOptimizer,
    loss: Callable,
    plan: Plan,
    points: bool,
):
    """`advance` for arrays of members, `(blocks, ..., lanes)`; what was seen comes as `(blocks, looks, ..., lanes)`."""
    shared, static = eqx.partition((optimizer, loss, plan), eqx.is_array)

    def on_one_device(members, shared):
        optimizer, loss, plan = eqx.combine(shared, static)
        return jax.lax.map(lambda block: advance(block, optimizer, loss, plan, points), members)

    split = jax.shard_map(
        on_one_device, mesh=mesh, in_specs=(RUNS, ALL), out_specs=RUNS, check_vma=False
    )
    return split(members, shared)


def meshed(devices: Sequence[Any]) -> Mesh:
    return Mesh(np.array(devices), ("runs",))


def everywhere(mesh: Mesh, tree: PyTree) -> PyTree:
    """Arrays that all runs share, on every device."""
    return jax.tree.map(
        lambda leaf: (
            jax.device_put(np.asarray(leaf), NamedSharding(mesh, ALL))
            if eqx.is_array(leaf)
            else leaf
        ),
        tree,
    )


def dealt(mesh: Mesh, array: np.ndarray, lanes: int) -> Array:
    """Runs, `(runs, ...)`, as blocks of lanes, `(blocks, ..., lanes)`, each block on its device."""
    blocks = np.moveaxis(array.reshape(-1, lanes, *array.shape[1:]), 1, -1)
    place = NamedSharding(mesh, RUNS)
    return jax.make_array_from_callback(
        blocks.shape, place, lambda here: np.ascontiguousarray(blocks[here])
    )


def blank(mesh: Mesh, leaf: jax.ShapeDtypeStruct, runs: int, lanes: int) -> Array:
    """Zeros of so many runs, in blocks of lanes."""
    return jnp.zeros(
        (runs // lanes, *leaf.shape, lanes), leaf.dtype, device=NamedSharding(mesh, RUNS)
    )


def gathered(array: Array) -> np.ndarray:
    """Blocks of lanes as runs along the first axis again, from all devices and all processes."""
    if not array.is_fully_addressable:
        from jax.experimental.multihost_utils import process_allgather

        array = process_allgather(array, tiled=True)
    blocks = np.moveaxis(np.asarray(array), -1, 1)
    return blocks.reshape(-1, *blocks.shape[2:])
