"""A function of small arrays, as JAX traces it, unrolled into a program of scalars."""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.extend.core import Jaxpr, Literal, Primitive

from ..checks import is_concrete
from ..errors import InvalidType, InvalidValue
from .opaque_gradient import entry_p, gradient_p
from .program import Constant, Operation, Program, ProgramBuilder, Scalar

MAX_REPETITIONS = 1000  # of one loop
DTYPES = ("bool", "int32", "int64", "float32", "float64")

# Operations that compute each number of an array by itself.
ELEMENTWISE = set(
    "abs acos acosh add and asin asinh atan atan2 atanh cbrt ceil clamp cos "
    "cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt is_finite le lgamma log log1p "
    "logistic lt max min mul ne neg nextafter not or pow rem round rsqrt sign sin sinh sqrt sub "
    "tan tanh xor".split()
)
# Operations that hand their operands on.
IDENTITIES = {"copy", "copy_p", "name", "optimization_barrier", "stop_gradient"}
# Operations that hold a program, and the name of the parameter that is this program.
CALLS = {
    "jit": "jaxpr",
    "closed_call": "call_jaxpr",
    "remat2": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}
# Operations with a rule of their own, `_Translator._name`.
LOOPS_AND_BRANCHES = {"cond", "scan", "while"}
RULES = set(
    "add_any convert_element_type dot_general integer_pow scatter-add select_n square".split()
)
REDUCTIONS = {
    "reduce_sum": lax.add_p,
    "reduce_prod": lax.mul_p,
    "reduce_max": lax.max_p,
    "reduce_min": lax.min_p,
    "reduce_and": lax.and_p,
    "reduce_or": lax.or_p,
    "reduce_xor": lax.xor_p,
}
CUMULATIONS = {
    "cumsum": lax.add_p,
    "cumprod": lax.mul_p,
    "cummax": lax.max_p,
    "cummin": lax.min_p,
}
# Operations that move numbers, and which of their operands are indices, which must be known.
NONE = slice(0)
MOVES = dict.fromkeys(
    "broadcast_in_dim concatenate expand_dims pad reshape rev slice split squeeze stack "
    "tile transpose".split(),
    NONE,
) | {
    "dynamic_slice": slice(1, None),
    "dynamic_update_slice": slice(2, None),
    "gather": slice(1, None),
    "scatter": slice(1, 2),
}


def trace(function: Callable, *arguments: Any, max_operations: int | None = None) -> Program:
    """The program of scalars of a function of small arrays.

    Calls are written out, and so are loops whose number of repetitions is known while tracing. Both
    sides of a branch are computed, and one is chosen. Constants are computed, and what occurs twice
    is computed once. The operations are those of the function in their order, so that a program
    rounds as JAX does without fusion.

    - `function`: a function of PyTrees of arrays, which JAX can trace. It may ask for
      `opaque_gradient`.
    - `arguments`: PyTrees of arrays or of `jax.ShapeDtypeStruct`, of which the shapes and dtypes
      matter: booleans, int32, int64, float32 and float64.
    - `max_operations`: the largest number of operations, 50 000 by default. An array of more
      numbers counts as so many operations.

    **Raises:** `InvalidValue`, which names the operation, for what cannot be written in scalars:
    sorting, linear algebra, random numbers, indices that depend on values and loops whose number of
    repetitions does; for too many operations; and for a function that uses a value that is
    traced outside of it. `InvalidType` for other dtypes.

    >>> import jax.numpy as jnp
    >>> trace(lambda x: jnp.sum(x**2), jnp.zeros(3))
    Program(inputs=3, operations=5, outputs=1)
    """
    closed, result = jax.make_jaxpr(function, return_shape=True)(*arguments)
    if not is_concrete(closed.consts):
        raise InvalidValue(
            "the function uses a value that is traced outside of it, as inside jax.jit; pass this "
            "value as an argument."
        )
    for aval in closed.in_avals:
        must_be_translated("an argument has the dtype", aval.dtype)
    dtypes = [aval.dtype for aval in closed.in_avals for _ in range(aval.size)]
    builder = ProgramBuilder(dtypes, max_operations)
    inputs, place = [], 0
    for aval in closed.in_avals:
        places = [*range(place, place + aval.size)]
        inputs.append(as_array(places, aval.shape))
        place += aval.size
    translator = _Translator(builder)
    outputs = translator.evaluate(closed.jaxpr, closed.consts, inputs)
    operations, outputs = builder.finish([scalar for array in outputs for scalar in array.flat])
    leaves = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in closed.in_avals]
    shapes = jax.tree.unflatten(jax.tree.structure(arguments), leaves)
    return Program(shapes, result, operations, outputs)


def as_array(scalars: Sequence[Scalar], shape: Sequence[int]) -> np.ndarray:
    array = np.empty(len(scalars), dtype=object)
    array[:] = scalars
    return array.reshape(shape)


def as_constants(variable: Any, values: Any) -> np.ndarray:
    """The constants with the values of a variable of JAX, in an array."""
    values = np.asarray(values, variable.aval.dtype)
    scalars = [Constant(value.tobytes(), values.dtype) for value in values.flat]
    return as_array(scalars, values.shape)


def known_values(scalars: np.ndarray, dtype) -> np.ndarray | None:
    """The values of an array of scalars if all are constants, and None otherwise."""
    if not all(isinstance(scalar, Constant) for scalar in scalars.flat):
        return None
    data = b"".join(scalar.data for scalar in scalars.flat)
    return np.frombuffer(data, dtype).reshape(scalars.shape)


def must_be_translated(subject: str, dtype: Any) -> None:
    """**Raises:** `InvalidType` if programs of scalars have no such dtype."""
    if dtype.name not in DTYPES:
        raise InvalidType(
            f"{subject} {dtype.name}, but programs of scalars have the dtypes "
            f"{', '.join(DTYPES)}; convert the numbers by .astype."
        )


def not_translated(name: str, remedy: str) -> InvalidValue:
    return InvalidValue(f"the operation `{name}` of JAX has no translation into scalars; {remedy}.")


class _Translator:
    """It evaluates a program of JAX on arrays of scalars, and tells a builder what is computed."""

    def __init__(self, builder: ProgramBuilder):
        self.builder = builder

    def evaluate(self, jaxpr: Jaxpr, constants: Sequence, inputs: Sequence) -> list[np.ndarray]:
        variables: Any = (*jaxpr.constvars, *(v for e in jaxpr.eqns for v in e.outvars))
        for variable in variables:
            self.builder.must_have_room_for(variable.aval.size)
        arrays = dict(
            zip(jaxpr.constvars, map(as_constants, jaxpr.constvars, constants), strict=True)
        )
        arrays |= zip(jaxpr.invars, inputs, strict=True)
        for equation in jaxpr.eqns:
            outputs = self.translate(equation, _read(equation.invars, arrays))
            arrays |= zip(equation.outvars, outputs, strict=True)
        return _read(jaxpr.outvars, arrays)

    def call(self, program: Any, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs of a program inside a program, which may have constants of its own."""
        return self.evaluate(
            getattr(program, "jaxpr", program), getattr(program, "consts", ()), inputs
        )

    def translate(self, equation: Any, inputs: list[np.ndarray]) -> Sequence[np.ndarray]:
        name = equation.primitive.name
        if name.startswith("random_") or name == "threefry2x32":
            raise not_translated(name, "leave the random numbers out")
        for variable in equation.outvars:
            must_be_translated(f"the operation `{name}` of JAX returns", variable.aval.dtype)
        if name in CALLS:
            return self.call(equation.params[CALLS[name]], inputs)
        if name in IDENTITIES:
            return inputs
        if name in LOOPS_AND_BRANCHES or equation.primitive is gradient_p:
            return getattr(self, f"_{name}")(equation, inputs)
        values = [
            known_values(array, variable.aval.dtype)
            for array, variable in zip(inputs, equation.invars, strict=True)
        ]
        if all(value is not None for value in values) and not equation.effects:
            return self._constant(equation, values)
        if name in RULES:
            return getattr(self, f"_{name.replace('-', '_')}")(equation, inputs)
        if name in ELEMENTWISE:
            return self._elementwise(equation, inputs)
        if name in REDUCTIONS:
            return self._reduce(equation, inputs, REDUCTIONS[name])
        if name in CUMULATIONS:
            return self._cumulate(equation, inputs, CUMULATIONS[name])
        if name in MOVES:
            return self._move(equation, inputs, values, MOVES[name])
        raise not_translated(name, "use arithmetic, functions such as jnp.exp, and jnp.where")

    def _constant(self, equation, values) -> list[np.ndarray]:
        with jax.ensure_compile_time_eval():
            outputs = equation.primitive.bind(*values, **equation.params)
        return list(map(as_constants, equation.outvars, _as_list(equation, outputs)))

    def _map(self, apply: Callable, *arrays: np.ndarray) -> np.ndarray:
        """`apply` on each tuple of scalars, where arrays without axes hold for all."""
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        columns = [np.broadcast_to(array, shape).ravel() for array in arrays]
        return as_array([apply(*scalars) for scalars in zip(*columns, strict=True)], shape)

    def _elementwise(self, equation, inputs):
        dtype = equation.outvars[0].aval.dtype
        apply = partial(self.builder.apply, equation.primitive, dtype=dtype, **equation.params)
        return [self._map(apply, *inputs)]

    def _convert_element_type(self, equation, inputs):
        dtype = equation.params["new_dtype"]
        return [self._map(partial(self.builder.convert, dtype=dtype), *inputs)]

    def _integer_pow(self, equation, inputs):
        return [self._map(lambda x: self.builder.power(x, equation.params["y"]), *inputs)]

    def _square(self, equation, inputs):
        return [self._map(lambda x: self.builder.power(x, 2), *inputs)]

    def _add_any(self, equation, inputs):
        return [self._map(self._binary(lax.add_p), *inputs)]

    def _binary(self, primitive: Primitive) -> Callable[[Scalar, Scalar], Scalar]:
        return partial(self.builder.apply, primitive)

    def _select_n(self, equation, inputs):
        return [self._map(lambda index, *cases: self.builder.choose(index, cases), *inputs)]

    def _cond(self, equation, inputs):
        index, *operands = inputs
        branches = [self.call(branch, operands) for branch in equation.params["branches"]]
        return [
            self._map(lambda *cases: self.builder.choose(index.item(), cases), *arrays)
            for arrays in zip(*branches, strict=True)
        ]

    def _scan(self, equation, inputs):
        parameters = equation.params
        length, constants = parameters["length"], inputs[: parameters["num_consts"]]
        if length > MAX_REPETITIONS:
            raise not_translated(
                f"scan with {length} repetitions", f"use at most {MAX_REPETITIONS}"
            )
        carry = inputs[len(constants) :][: parameters["num_carry"]]
        columns = inputs[len(constants) + len(carry) :]
        rows = []
        for i in reversed(range(length)) if parameters["reverse"] else range(length):
            row = [np.asarray(column[i], dtype=object) for column in columns]
            outputs = self.call(parameters["jaxpr"], [*constants, *carry, *row])
            carry = outputs[: len(carry)]
            rows.append(outputs[len(carry) :])
        if parameters["reverse"]:
            rows.reverse()
        columns = [np.empty(v.aval.shape, dtype=object) for v in equation.outvars[len(carry) :]]
        for i, row in enumerate(rows):
            for column, entries in zip(columns, row, strict=True):
                column[i, ...] = entries
        return [*carry, *columns]

    def _while(self, equation, inputs):
        parameters = equation.params
        num_cond, num_body = parameters["cond_nconsts"], parameters["body_nconsts"]
        of_cond, of_body = inputs[:num_cond], inputs[num_cond:][:num_body]
        carry = inputs[num_cond + num_body :]
        for _ in range(MAX_REPETITIONS + 1):
            (condition,) = self.call(parameters["cond_jaxpr"], [*of_cond, *carry])
            goes_on = known_values(condition, bool)
            if goes_on is None:
                raise not_translated(
                    "while with a condition on values",
                    "use jax.lax.fori_loop with a known number of repetitions",
                )
            if not goes_on:
                return carry
            carry = self.call(parameters["body_jaxpr"], [*of_body, *carry])
        raise not_translated(
            f"while with more than {MAX_REPETITIONS} repetitions", "use fewer repetitions"
        )

    def _reduce(self, equation, inputs, primitive):
        (array,) = inputs
        axes = equation.params["axes"]
        kept = [axis for axis in range(array.ndim) if axis not in axes]
        rows = array.transpose(*kept, *axes).reshape(*(array.shape[axis] for axis in kept), -1)
        return [self._accumulate(rows, primitive)[..., -1]]

    def _cumulate(self, equation, inputs, primitive):
        (array,) = inputs
        rows = np.moveaxis(array, equation.params["axis"], -1)
        if equation.params["reverse"]:
            sums = self._accumulate(rows[..., ::-1], primitive)[..., ::-1]
        else:
            sums = self._accumulate(rows, primitive)
        return [np.moveaxis(sums, -1, equation.params["axis"])]

    def _accumulate(self, rows: np.ndarray, primitive) -> np.ndarray:
        """All partial sums (products, maxima, ...) along the last axis, from its first entry on."""
        sums = rows.copy()
        for i in range(1, rows.shape[-1]):
            sums[..., i] = self._map(self._binary(primitive), sums[..., i - 1], rows[..., i])
        return sums

    def _dot_general(self, equation, inputs):
        (output,) = equation.outvars
        convert = partial(self.builder.convert, dtype=output.aval.dtype)
        a, b = (
            _rows(self._map(convert, array), *axes)
            for array, *axes in zip(inputs, *equation.params["dimension_numbers"], strict=True)
        )
        products = self._map(self._binary(lax.mul_p), a[:, :, None, :], b[:, None, :, :])
        return [self._accumulate(products, lax.add_p)[..., -1].reshape(output.aval.shape)]

    def _move(self, equation, inputs, values, indices):
        """The operation itself moves the places of the scalars, in the place of the scalars."""
        is_index = [i in range(len(inputs))[indices] for i in range(len(inputs))]
        scalars, operands = [], []
        for array, known, stays in zip(inputs, values, is_index, strict=True):
            if stays:
                operands.append(self._must_be_known(equation, known))
                continue
            places = np.arange(len(scalars), len(scalars) + array.size)
            operands.append(places.reshape(array.shape))
            scalars += array.flat
        fills = {"fill_value": -1} if "fill_value" in equation.params else {}
        with jax.ensure_compile_time_eval():
            outputs = equation.primitive.bind(*operands, **equation.params | fills)
        moved = [np.asarray(output) for output in _as_list(equation, outputs)]
        if any(np.any(places < 0) for places in moved):
            raise not_translated(
                f"{equation.primitive.name} outside of an array", "index inside of it"
            )
        return [self._map(scalars.__getitem__, places) for places in moved]

    def _must_be_known(self, equation, indices: np.ndarray | None) -> np.ndarray:
        if indices is None:
            raise not_translated(
                f"{equation.primitive.name} with indices that depend on values",
                "index by known numbers, or choose by jnp.where",
            )
        return indices

    def _scatter_add(self, equation, inputs):
        array, indices, updates = inputs
        _, of_indices, of_updates = equation.invars
        known = self._must_be_known(equation, known_values(indices, of_indices.aval.dtype))
        zeros, result = np.zeros(array.shape, of_updates.aval.dtype), array.copy()
        for i in np.ndindex(updates.shape):
            one = np.zeros(updates.shape, of_updates.aval.dtype)
            one[i] = 1
            with jax.ensure_compile_time_eval():
                targets = equation.primitive.bind(zeros, known, one, **equation.params)
            for j in zip(*np.nonzero(targets), strict=True):
                result[j] = self.builder.apply(lax.add_p, result[j], updates[i])
        return [result]

    def _gradient(self, equation, inputs):
        (output,) = equation.outvars
        dtype, size = output.aval.dtype, output.aval.size
        operands = tuple(scalar for array in inputs for scalar in array.flat)
        gradient = self.builder.add(Operation(gradient_p, operands, dtype, (("size", size),)))
        entries = [
            self.builder.add(Operation(entry_p, (gradient,), dtype, (("index", i),)))
            for i in range(size)
        ]
        return [as_array(entries, output.aval.shape)]


def _read(variables: Sequence[Any], arrays: dict) -> list[np.ndarray]:
    return [as_constants(v, v.val) if isinstance(v, Literal) else arrays[v] for v in variables]


def _rows(array: np.ndarray, contracted: Sequence[int], batch: Sequence[int]) -> np.ndarray:
    """A factor of a product of arrays, with the axes batch, row, place in the row."""
    free = [axis for axis in range(array.ndim) if axis not in (*contracted, *batch)]
    sizes = [prod(array.shape[axis] for axis in axes) for axes in (batch, free, contracted)]
    return array.transpose(*batch, *free, *contracted).reshape(sizes)


def _as_list(equation: Any, outputs: Any) -> list:
    return list(outputs) if equation.primitive.multiple_results else [outputs]
