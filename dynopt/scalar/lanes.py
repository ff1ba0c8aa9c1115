"""A program of scalars as a JAX function of many points at once, one scalar after another."""

from collections.abc import Callable, Container, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from ..errors import InvalidValue
from .opaque_gradient import entry_p, gradient_p
from .program import Constant, Program, Scalar


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
        rows = [row for leaf in leaves for row in leaf.reshape(-1, lanes)]
        outputs, results = evaluate(program, rows, gradients), []
        outputs = [jnp.broadcast_to(output, lanes) for output in outputs]
        shapes, structure = jax.tree.flatten(program.result)
        for leaf in shapes:
            rows, outputs = outputs[: leaf.size], outputs[leaf.size :]
            results.append(jnp.stack(rows).reshape(*leaf.shape, lanes))
        return jax.tree.unflatten(structure, results)

    return function


def evaluate(
    program: Program,
    inputs: Sequence[Array],
    gradients: Sequence[Callable] = (),
    divisors: Container[Scalar] = (),
) -> list[Array]:
    """The outputs of a program, one array for each of its scalars.

    - `inputs`: an array for each scalar of the arguments: a number that is the same on all lanes,
      of shape `()`, or one for each, of shape `(lanes,)`.
    - `gradients`: as `to_lanes` has them.
    - `divisors`: numbers whose reciprocal is computed once, and multiplied with where the program
      divides by them. A product is several times as fast, and differs in the last bit. Where a
      divisor is so large that its reciprocal is denormal, the product is 0.
    """
    values, reciprocals = list(inputs), {}
    lanes = np.broadcast_shapes(*(value.shape for value in values))

    def read(scalar):
        return jnp.asarray(scalar.value) if isinstance(scalar, Constant) else values[scalar]

    def result(operation):
        operands = [read(scalar) for scalar in operation.operands]
        primitive, parameters = operation.primitive, dict(operation.parameters)
        if primitive is entry_p:
            return operands[0][parameters["index"]]
        if primitive is gradient_p:
            rows, size = [jnp.broadcast_to(x, lanes) for x in operands], parameters["size"]
            points = [jnp.stack(rows[i : i + size]) for i in range(0, len(rows), size)]
            return gradients[len(points) - 1](*points)
        if primitive is lax.div_p and (divisor := operation.operands[1]) in divisors:
            if divisor not in reciprocals:
                reciprocals[divisor] = 1 / operands[1]
            primitive, operands[1] = lax.mul_p, reciprocals[divisor]
        shape = np.broadcast_shapes(*(x.shape for x in operands))
        return primitive.bind(*(jnp.broadcast_to(x, shape) for x in operands), **parameters)

    for operation in program.operations:
        values.append(result(operation))
    return [read(scalar) for scalar in program.outputs]
