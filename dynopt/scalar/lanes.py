"""A program of scalars as a JAX function of many points at once, one scalar after another."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from ..errors import InvalidValue
from .opaque_gradient import entry_p, gradient_p
from .program import Constant, Program


def to_lanes(program: Program, gradients: Sequence[Callable] = ()) -> Callable:
    """A function that computes what the traced function computes, at many points at once.

    Every array of its arguments has one axis more than that of the traced function, the last one,
    along which the points lie (the lanes); so has every array of the result. Each scalar of the
    program is then one vector, on which XLA computes without moving a number from lane to lane.

    - `program`: what `trace` returns.
    - `gradients`: the functions x ↦ ∇f(x), (x, v) ↦ D∇f(x)[v], ... for arrays with lanes, of shape
      (size, lanes), if the program asks for an opaque gradient; `program.num_gradients` of them.

    **Raises:** `InvalidValue` if `gradients` are too few, or if an argument has no axis of lanes.

    >>> import jax.numpy as jnp
    >>> from dynopt.scalar import trace
    >>> norm = trace(lambda x: jnp.sqrt(jnp.sum(x**2)), jnp.zeros(2))
    >>> to_lanes(norm)(jnp.array([[3.0, 5.0, 8.0], [4.0, 12.0, 15.0]])).tolist()
    [5.0, 13.0, 17.0]
    """

    if len(gradients) < program.num_gradients:
        raise InvalidValue(
            f"the program asks for {program.num_gradients} functions in `gradients`, got "
            f"{len(gradients)}; pass the gradient, its derivative (x, v) -> Dg[v], and so on."
        )
    shapes_of_one = [leaf.shape for leaf in jax.tree.leaves(program.arguments)]

    def function(*arguments):
        leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(arguments)]
        shapes = [leaf.shape for leaf in leaves]
        lanes = max((shape[-1] for shape in shapes if shape), default=1)
        right = [(*shape, lanes) for shape in shapes_of_one]
        if shapes != right:
            raise InvalidValue(
                f"the arguments have the shapes {shapes}, but with {lanes} lanes in the last axis "
                f"they must be {right}; use jnp.broadcast_to, say."
            )
        values = [row for leaf in leaves for row in leaf.reshape(-1, lanes)]

        def read(scalar):
            if isinstance(scalar, Constant):
                return jnp.full(lanes, scalar.value)
            return values[scalar]

        for operation in program.operations:
            operands = [read(scalar) for scalar in operation.operands]
            parameters = dict(operation.parameters)
            if operation.primitive is gradient_p:
                size = parameters["size"]
                points = [jnp.stack(operands[i : i + size]) for i in range(0, len(operands), size)]
                values.append(gradients[len(points) - 1](*points))
            elif operation.primitive is entry_p:
                values.append(operands[0][parameters["index"]])
            else:
                values.append(operation.primitive.bind(*operands, **parameters))
        outputs, results = list(map(read, program.outputs)), []
        shapes, structure = jax.tree.flatten(program.result)
        for leaf in shapes:
            rows, outputs = outputs[: leaf.size], outputs[leaf.size :]
            results.append(jnp.stack(rows).reshape(*leaf.shape, lanes))
        return jax.tree.unflatten(structure, results)

    return function
