"""A program of scalars: operations on single numbers, one after another, without branch or loop."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jaxtyping import PyTree

from ..errors import InvalidValue
from .opaque_gradient import gradient_p

MAX_OPERATIONS = 50_000  # of one program


@dataclass(frozen=True)
class Constant:
    """A number with a dtype; two constants are equal if all of their bits are."""

    data: bytes
    dtype: np.dtype

    @classmethod
    def of(cls, value: Any) -> "Constant":
        value = np.asarray(value)
        return cls(value.tobytes(), value.dtype)

    @property
    def value(self) -> Any:
        """The number, as numpy has it."""
        (value,) = np.frombuffer(self.data, self.dtype)
        return value


Scalar = int | Constant  # the place of a number among all that a program holds, or the number


class Operation(NamedTuple):
    """One operation of JAX on scalars: `primitive`, its parameters, and the dtype of its result.

    Two operations are not of JAX: `gradient`, whose operands are the numbers of a position and of
    k directions and whose result is a list, and `entry`, which takes one number of such a list.
    Programs with loops have two more, `rows` and `column_sum`.
    """

    primitive: Primitive
    operands: tuple[Scalar, ...]
    dtype: np.dtype
    parameters: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Program:
    """A traced function as operations on scalars.

    - `arguments`: the shapes and dtypes of the arguments, a tuple of PyTrees.
    - `result`: those of the result, a PyTree.
    - `operations`: what is computed, in order.
    - `outputs`: where the numbers of the result are.

    The numbers of the arguments have the places 0, 1, ..., in the order of their leaves, each leaf
    row by row. The results of the operations have the places after these.
    """

    arguments: tuple[PyTree[jax.ShapeDtypeStruct], ...]
    result: PyTree[jax.ShapeDtypeStruct]
    operations: tuple[Operation, ...]
    outputs: tuple[Scalar, ...]

    @property
    def num_inputs(self) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(self.arguments))

    @property
    def num_gradients(self) -> int:
        """How many functions a program asks of its loss: with the gradient alone 1, with its
        derivative along one direction 2, and so on; 0 if it asks for none."""
        return max((order_of(operation) + 1 for operation in self.gradient_calls), default=0)

    @property
    def gradient_calls(self) -> tuple[Operation, ...]:
        return tuple(call for call in self.operations if call.primitive is gradient_p)

    def depends_on(self, inputs: Iterable[int]) -> set[Scalar]:
        """The places of these inputs, and of all results that depend on them."""
        dependent: set[Scalar] = set(inputs)
        for place, operation in enumerate(self.operations, self.num_inputs):
            if not dependent.isdisjoint(operation.operands):
                dependent.add(place)
        return dependent

    def __repr__(self) -> str:
        return (
            f"Program(inputs={self.num_inputs}, operations={len(self.operations)}, "
            f"outputs={len(self.outputs)})"
        )


def order_of(gradient_call: Operation) -> int:
    """The number of directions along which a gradient is differentiated."""
    return len(gradient_call.operands) // dict(gradient_call.parameters)["size"] - 1


COMMUTATIVE = {lax.add_p, lax.mul_p, lax.eq_p, lax.ne_p, lax.and_p, lax.or_p}
# The second operand with which an operation returns the first one.
NEUTRAL = {lax.add_p: 0, lax.sub_p: 0, lax.mul_p: 1, lax.div_p: 1}


class ProgramBuilder:
    """A program in the making: it holds each operation once, and computes what is constant.

    Constants are computed by JAX itself. No rule changes a bit of a result, so 0 x stays, which may
    be NaN; but x + 0 is x, as XLA has it, too, so that a zero may keep its sign.
    """

    def __init__(self, input_dtypes: Sequence[np.dtype], max_operations: int | None = None):
        self.input_dtypes = tuple(input_dtypes)
        self.max_operations = MAX_OPERATIONS if max_operations is None else max_operations
        self.operations: list[Operation] = []
        self.places: dict[Operation, int] = {}

    def dtype(self, scalar: Scalar) -> np.dtype:
        if isinstance(scalar, Constant):
            return scalar.dtype
        operation = self.operation(scalar)
        return self.input_dtypes[scalar] if operation is None else operation.dtype

    def operation(self, scalar: Scalar) -> Operation | None:
        """The operation with this result; None for an input and for a constant."""
        if isinstance(scalar, Constant) or scalar < len(self.input_dtypes):
            return None
        return self.operations[scalar - len(self.input_dtypes)]

    def apply(self, primitive: Primitive, *operands: Scalar, dtype=None, **parameters) -> Scalar:
        """The result of an operation, of the dtype of its last operand unless that is given."""
        dtype = self.dtype(operands[-1]) if dtype is None else np.dtype(dtype)
        if primitive in COMMUTATIVE:  # a constant comes last
            operands = tuple(sorted(operands, key=lambda s: inf if isinstance(s, Constant) else s))
        operation = Operation(primitive, operands, dtype, tuple(sorted(parameters.items())))
        if all(isinstance(operand, Constant) for operand in operands):
            return constant_result(operation)
        shorter = self._shorter(operation)
        return self.add(operation) if shorter is None else shorter

    def add(self, operation: Operation) -> int:
        """The place of the result of an operation, which is as it was given."""
        if operation not in self.places:
            self.must_have_room_for(len(self.operations) + 1)
            self.places[operation] = len(self.input_dtypes) + len(self.operations)
            self.operations.append(operation)
        return self.places[operation]

    def must_have_room_for(self, operations: int) -> None:
        """**Raises:** `InvalidValue` if these are too many operations for one program."""
        if operations > self.max_operations:
            raise InvalidValue(
                f"the function takes more than {self.max_operations} operations on scalars; use "
                "fewer coordinates, less data or fewer repetitions."
            )

    def convert(self, scalar: Scalar, dtype) -> Scalar:
        if self.dtype(scalar) == dtype:
            return scalar
        return self.apply(
            lax.convert_element_type_p,
            scalar,
            dtype=dtype,
            new_dtype=np.dtype(dtype),
            weak_type=False,
            sharding=None,
        )

    def choose(self, index: Scalar, cases: Sequence[Scalar]) -> Scalar:
        """The case with this index; the last one for indices beyond, the first for negative ones.

        The index is a boolean or an integer.
        """
        source = self.operation(index)
        if source is not None and source.primitive is lax.convert_element_type_p:
            (converted,) = source.operands
            index = converted if self.dtype(converted).kind == "b" else index
        if self.dtype(index).kind == "b" and len(cases) == 2:
            return self.apply(lax.select_n_p, index, *cases)
        index = self.convert(index, np.int32) if self.dtype(index).kind == "b" else index
        chosen = cases[-1]
        for i in reversed(range(len(cases) - 1)):
            limit = Constant.of(np.asarray(i + 1, self.dtype(index)))
            is_below = self.apply(lax.lt_p, index, limit, dtype=bool)
            chosen = self.apply(lax.select_n_p, is_below, chosen, cases[i])
        return chosen

    def power(self, x: Scalar, exponent: int) -> Scalar:
        """A power with a whole exponent, as products in the order in which JAX multiplies."""
        one = Constant.of(np.ones((), self.dtype(x)))
        product, remaining = one, abs(exponent)
        while remaining:
            if remaining % 2:
                product = self.apply(lax.mul_p, product, x)
            remaining //= 2
            if remaining:
                x = self.apply(lax.mul_p, x, x)
        return self.apply(lax.div_p, one, product) if exponent < 0 else product

    def finish(self, outputs: Sequence[Scalar]) -> tuple[tuple[Operation, ...], tuple[Scalar, ...]]:
        """The operations that the outputs need, and the places of the outputs among these."""
        offset = len(self.input_dtypes)
        needed = {scalar for scalar in outputs if not isinstance(scalar, Constant)}
        for i in reversed(range(len(self.operations))):
            if offset + i in needed:
                operands = self.operations[i].operands
                needed |= {scalar for scalar in operands if not isinstance(scalar, Constant)}
        places: dict[Scalar, Scalar] = {i: i for i in range(offset)}
        kept = []
        for i, operation in enumerate(self.operations):
            if offset + i in needed:
                places[offset + i] = offset + len(kept)
                operands = tuple(places.get(scalar, scalar) for scalar in operation.operands)
                kept.append(operation._replace(operands=operands))
        return tuple(kept), tuple(places.get(scalar, scalar) for scalar in outputs)

    def _shorter(self, operation: Operation) -> Scalar | None:
        """A result that has the bits of that of the operation without computing it, if known."""
        primitive, (first, *others) = operation.primitive, operation.operands
        if primitive in NEUTRAL:
            (last,) = others
            is_neutral = isinstance(last, Constant) and last.value == NEUTRAL[primitive]
            return first if is_neutral else None
        if primitive in (lax.neg_p, lax.not_p):
            inner = self.operation(first)
            return inner.operands[0] if inner and inner.primitive is primitive else None
        if primitive is lax.select_n_p and isinstance(first, Constant):
            return others[int(first.value)]
        if primitive is lax.select_n_p and len(set(others)) == 1:
            return others[0]
        return None


def constant_result(operation: Operation) -> Constant:
    """The result of an operation on constants, as JAX computes it."""
    operands = [operand.value for operand in operation.operands if isinstance(operand, Constant)]
    with jax.ensure_compile_time_eval():
        return Constant.of(operation.primitive.bind(*operands, **dict(operation.parameters)))
