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
from jax.experimental.xla_metadata import set_xla_metadata
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from ..errors import InvalidType, InvalidValue
from ..optimizers import AbstractOptimizer
from ..scalar import Program, evaluate, trace
from .batches import is_key
from .iterate import record_failure
from .prepare import all_finite, fit_to_start, flatten_loss, prepare_loss

STRIDE = 32  # steps between two checks of divergence
MAX_OPERATIONS = 1000  # of a step that is computed scalar by scalar
MAX_NUMBERS = 200  # of one run and of what all runs share, for such a step
TRIED_JAX = 0, 10  # the versions with which loops in one kernel were tried
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
    on_cpu: bool,
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

    take_steps = _steps_of_lanes(block, optimizer, loss, on_cpu)

    def step_checked(k, steps, block):
        def one_step(k, block):
            def check(run, optimizer, x, grad, observe, squared_radius):
                radius = squared_radius(run.y.x)
                finite = (radius <= 1) & all_finite(run.y[1:])
                return record_failure(run.failure, k + 1, radius > 1, finite)

            block = block._replace(y=take_steps(block, k, jnp.int32(1)))
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
            after = block._replace(y=take_steps(block, now, n))
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


def _steps_of_lanes(
    block: RunState, optimizer: AbstractOptimizer, loss: Callable, on_cpu: bool
) -> Callable:
    """The function that takes a block through steps: `take_steps(block, k, steps) -> y`.

    For positions of a few coordinates the step is the traced program of scalars, each of which is
    one vector over the lanes. Its divisions by what is the same in all steps, or changes with time
    alone, are products with a reciprocal. For all others it is the step of one run under `vmap`.
    """
    shared, static = eqx.partition((optimizer, loss), eqx.is_array)

    def step(shared, k, numbers, x0, y):
        optimizer, loss = eqx.combine(shared, static)
        x, _, grad = flatten_loss(loss, x0)
        fitted = fit_to_start(eqx.combine(numbers, optimizer), x0, x.dtype)
        return fitted.step(k * fitted.h, y, grad)

    of_one_run = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[:-1], leaf.dtype),
        (block.numbers, block.x0, block.y),
    )
    of_all_runs = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), (shared, np.int32())
    )
    program = _program(step, *of_all_runs, *of_one_run)

    def steps_of_arrays(block, k, steps):
        @partial(jax.vmap, in_axes=-1, out_axes=-1)
        def of_run(run):
            return jax.lax.fori_loop(
                k, k + steps, lambda k, y: step(shared, k, run.numbers, run.x0, y), run.y
            )

        return of_run(block)

    if program is None:
        return steps_of_arrays

    def steps_of_scalars(block, k, steps):
        scalars = [scalar for leaf in jax.tree.leaves(shared) for scalar in leaf.reshape(-1)]
        constant = [*scalars, None, *_rows((block.numbers, block.x0))]
        y = _rows(block.y)
        run_loop = _in_one_kernel if on_cpu else _loop_over_steps
        return _from_rows(run_loop(program, constant, y, k, steps), block.y)

    return steps_of_scalars


def _loop_over_steps(program: Program, constant: list, y: list, k: Array, steps: Array) -> list:
    """The rows of the points of phase space after so many steps from step `k` on.

    - `constant`: the inputs of the program before those of `y`, None in the place of `k`.
    """
    first = program.num_inputs - len(y)
    varying = program.depends_on(range(first, program.num_inputs))
    divisors = set(range(program.num_inputs + len(program.operations))) - varying

    def one_step(k, y):
        inputs = [k if row is None else row for row in constant] + y
        outputs = evaluate(program, inputs, divisors=divisors)
        return [jnp.broadcast_to(row, y[0].shape) for row in outputs]

    return jax.lax.fori_loop(k, k + steps, one_step, y)


def _program(step: Callable, *arguments: PyTree) -> Program | None:
    """The step as a program of scalars, or None if it cannot be one, or would be too long."""
    if sum(leaf.size for leaf in jax.tree.leaves(arguments)) > MAX_NUMBERS:
        return None
    try:
        return trace(step, *arguments, max_operations=MAX_OPERATIONS)
    except (InvalidValue, InvalidType):
        return None


def _in_one_kernel(program: Program, constant: list, y: list, k: Array, steps: Array) -> list:
    """`_loop_over_steps` as one kernel of XLA on a CPU.

    Otherwise each row of each step is a kernel, and to start it takes longer than to run it. XLA
    makes one of its own accord of loops over a few numbers only. With the attribute that marks them
    it ends the process if it finds an operand of no use. So all operands are those without which
    there is no result: the rows, packed by dtype with those of the points of phase space, and the
    number of steps.
    """
    used = {scalar for operation in program.operations for scalar in operation.operands}
    used |= set(program.outputs)
    needed = [i for i, row in enumerate(constant) if row is not None and i in used]
    rows = [*(constant[i] for i in needed), *y]
    if jax.__version_info__[:2] != TRIED_JAX or {r.dtype for r in rows} != {r.dtype for r in y}:
        return _loop_over_steps(program, constant, y, k, steps)

    def pack(rows):
        arrays = {row.dtype.name: [] for row in rows}
        for row in rows:
            arrays[row.dtype.name].append(jnp.broadcast_to(row, y[0].shape))
        return {name: jnp.stack(array) for name, array in arrays.items()}

    def unpack(packed, like):
        places = {name: iter(array) for name, array in packed.items()}
        arrays = [next(places[row.dtype.name]) for row in like]
        return [a if row.shape else a[0] for a, row in zip(arrays, like, strict=True)]

    @jax.jit
    def loop(times, packed):
        inputs = unpack(packed, rows)
        inside = [None if row is None else inputs[0] for row in constant]
        for i, row in zip(needed, inputs, strict=False):
            inside[i] = row
        return pack(_loop_over_steps(program, inside, inputs[len(needed) :], *times))

    after = loop(jnp.stack([k, steps]), pack(rows))
    return unpack(set_xla_metadata(after, xla_cpu_small_call="true", inlineable="false"), y)


def _rows(tree: PyTree) -> list[Array]:
    """The numbers of arrays with lanes, a vector over the lanes for each."""
    return [row for leaf in jax.tree.leaves(tree) for row in leaf.reshape(-1, leaf.shape[-1])]


def _from_rows(rows: list[Array], like: PyTree) -> PyTree:
    leaves, structure = jax.tree.flatten(like)
    row = iter(rows)
    arrays = [
        jnp.stack([next(row) for _ in range(math.prod(leaf.shape[:-1]))]).reshape(leaf.shape)
        for leaf in leaves
    ]
    return jax.tree.unflatten(structure, arrays)


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
    on_cpu = mesh.devices.flat[0].platform == "cpu"

    def on_one_device(runs, shared):
        optimizer, loss, plan = eqx.combine(shared, static)
        return jax.lax.map(
            lambda block: advance(block, optimizer, loss, plan, keep_points, on_cpu), runs
        )

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
        array = leaf if is_key(leaf) else np.asarray(leaf)
        return jax.device_put(array, NamedSharding(mesh, WHOLE))

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
