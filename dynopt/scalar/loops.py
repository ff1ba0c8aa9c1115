"""Sums of many terms that are computed in the same way, such as those over data, as loops."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax import lax
from jax.extend.core import Primitive

from .opaque_gradient import entry_p
from .program import COMMUTATIVE, NEUTRAL, Constant, Operation, Program, ProgramBuilder, Scalar

rows_p = Primitive("rows")  # what the program `body` returns for each row: a list of lists
column_sum_p = Primitive("column_sum")  # a number, and to it one column of such a list, in order

LEAST_TERMS = 4  # of a sum that becomes a loop
SIGNATURE_DEPTH = 3  # of operations by which terms are told from partial sums

Copies = tuple[Scalar, ...]  # the same number in each of the terms


class Sum(NamedTuple):
    """A sum in a program: the number `start`, and to it, in order, the `terms`."""

    start: Scalar | None
    terms: Copies


class Body(NamedTuple):
    """What the terms of some sums have in common.

    - `steps`: the operations, in order, each with the copies of its result and of its operands.
    - `shared`: the numbers that are the same in all terms.
    - `rows`: the numbers that each term has of its own.
    """

    steps: dict[Copies, tuple[Operation, tuple[Copies, ...]]]
    shared: list[Copies]
    rows: list[Copies]

    @property
    def saves(self) -> bool:
        """Whether a loop is shorter than its terms one after another."""
        count = len(next(iter(self.steps))) if self.steps else 0
        return (count - 1) * len(self.steps) > count * len(self.rows) + 10


def with_loops(program: Program) -> Program:
    """The same program, in which long sums of terms that are computed in the same way are loops.

    A gradient over data is such a sum, and so is the extrapolation of a map from several time
    steps. Each number is rounded as before, up to the sign of zero. Two operations are new: `rows`,
    whose parameter is the program of one term, and `column_sum`.
    """
    finder = _Finder(program)
    inputs = [leaf.dtype for leaf in jax.tree.leaves(program.arguments) for _ in range(leaf.size)]
    builder = ProgramBuilder(inputs)
    places: dict[Scalar, Scalar] = {i: i for i in range(program.num_inputs)}

    def placed(scalars: Sequence[Scalar]) -> tuple[Scalar, ...]:
        return tuple(places.get(scalar, scalar) for scalar in scalars)

    for level, scalars in sorted(finder.levels().items()):
        for sums, body in finder.loops(level):
            places |= _add_loop(builder, finder, sums, body, placed)
        for scalar in scalars:
            operation = finder.operation(scalar)
            if scalar not in places and operation is not None:
                places[scalar] = builder.add(
                    operation._replace(operands=placed(operation.operands))
                )
    operations, outputs = builder.finish(placed(program.outputs))
    return Program(program.arguments, program.result, operations, outputs)


def _add_loop(builder, finder, sums, body, placed) -> dict[Scalar, Scalar]:
    """The places of sums, after their loop is added to a program."""
    columns = [terms for _, terms in sums.values()]
    operands = [copies[0] for copies in body.shared]
    operands += [number for row in zip(*body.rows, strict=True) for number in row]
    parameters = (("body", _program_of(finder, body, columns)), ("width", len(body.rows)))
    rows = builder.add(Operation(rows_p, placed(operands), np.dtype(float), parameters))
    places = {}
    for i, (root, (start, _)) in enumerate(sums.items()):
        (start,) = placed([Constant.of(0.0) if start is None else start])
        operation = Operation(column_sum_p, (rows, start), np.dtype(float), (("index", i),))
        places[root] = builder.add(operation)
    return places


def _program_of(finder: "_Finder", body: Body, columns: Sequence[Copies]) -> Program:
    """The program of one term: first the numbers that all terms share, then those of its row."""
    inputs = [*body.shared, *body.rows]
    builder = ProgramBuilder([finder.dtype(copies[0]) for copies in inputs])
    places: dict[Copies, Scalar] = {copies: i for i, copies in enumerate(inputs)}

    def placed(copies: Copies) -> Scalar:
        return places[copies] if copies in places else copies[0]  # else a constant

    for copies, (operation, operands) in body.steps.items():
        places[copies] = builder.add(operation._replace(operands=tuple(map(placed, operands))))
    arguments = tuple(jax.ShapeDtypeStruct((), dtype) for dtype in builder.input_dtypes)
    result = (jax.ShapeDtypeStruct((), np.dtype(float)),) * len(columns)
    return Program(arguments, result, *builder.finish([placed(copies) for copies in columns]))


class _Finder:
    """It finds the sums in a program, and what their terms have in common."""

    def __init__(self, program: Program):
        self.program = program
        self.offset = program.num_inputs
        self.inputs = [
            leaf.dtype for leaf in jax.tree.leaves(program.arguments) for _ in range(leaf.size)
        ]
        self.uses = Counter(
            scalar
            for scalars in [*(o.operands for o in program.operations), program.outputs]
            for scalar in scalars
        )
        self.signatures = self._signatures()
        self.neutral_runs = self._neutral_runs()
        self.sums = self._sums()
        self.level: dict[Scalar, int] = {}

    def operation(self, scalar: Scalar) -> Operation | None:
        if isinstance(scalar, Constant) or scalar < self.offset:
            return None
        return self.program.operations[scalar - self.offset]

    def dtype(self, scalar: Scalar) -> np.dtype:
        if isinstance(scalar, Constant):
            return scalar.dtype
        operation = self.operation(scalar)
        return self.inputs[scalar] if operation is None else operation.dtype

    def levels(self) -> dict[int, list[Scalar]]:
        """The numbers by the most sums, one after another, that they depend on."""
        by_level = defaultdict(list)
        for i, operation in enumerate(self.program.operations):
            level = max((self.level.get(scalar, 0) for scalar in operation.operands), default=0)
            level += self.offset + i in self.sums
            self.level[self.offset + i] = level
            by_level[level].append(self.offset + i)
        return by_level

    def loops(self, level: int) -> list[tuple[dict[Scalar, Sum], Body]]:
        """The sums of a level that are worth a loop, those of equally many terms together."""
        by_length = defaultdict(dict)
        for root, found in self.sums.items():
            if self.level[root] == level and self._common(found.terms) is not None:
                by_length[len(found.terms)][root] = found
        loops = []
        for sums in by_length.values():
            body = self._body([terms for _, terms in sums.values()])
            if body.saves:
                loops.append((sums, body))
        return loops

    def _neutral_runs(self) -> dict[Scalar, int]:
        """How many operations that some constant would leave out lead to each number in a row."""
        runs: dict[Scalar, int] = {}
        for i, operation in enumerate(self.program.operations):
            run = 1 + runs.get(operation.operands[0], 0) if _is_neutral(operation) else 0
            runs[self.offset + i] = run
        return runs

    def _signatures(self) -> dict[Scalar, int]:
        """The kinds of the last operations that lead to each number; constants do not matter."""
        signatures: dict[Scalar, int] = {}
        for _ in range(SIGNATURE_DEPTH):
            before, signatures = signatures, {}
            for i, operation in enumerate(self.program.operations):
                if _is_neutral(operation):
                    signature = signatures.get(operation.operands[0], 0)
                else:
                    operands = tuple(before.get(scalar, 0) for scalar in operation.operands)
                    signature = hash((operation.primitive.name, operation.parameters, operands))
                signatures[self.offset + i] = signature
        return signatures

    def _sums(self) -> dict[Scalar, Sum]:
        """The sums of at least `LEAST_TERMS` terms with equal signatures, by their last number."""
        sums, partial = {}, set()
        for i in reversed(range(len(self.program.operations))):
            root = self.offset + i
            if root in partial or not self._is_sum(root):
                continue
            walks = [self._walk(root, self._signature(term)) for term in self._operands(root)]
            found, passed = max(walks, key=lambda walk: len(walk[0].terms))
            if len(found.terms) >= LEAST_TERMS:
                sums[root] = found
                partial |= passed
        return sums

    def _walk(self, root: Scalar, signature: int) -> tuple[Sum, set[Scalar]]:
        """The sum of the terms with a signature that ends in a number, and its partial sums."""
        terms, passed, current = [], set(), root
        while current == root or self._is_sum(current) and self.uses[current] == 1:
            alike = [x for x in self._operands(current) if self._signature(x) == signature]
            if not alike:
                break
            passed.add(current)
            first, second = self._operands(current)
            if len(alike) == 2:
                return Sum(None, (first, second, *reversed(terms))), passed
            terms += alike
            current = first if alike == [second] else second
        return Sum(current, tuple(reversed(terms))), passed

    def _operands(self, scalar: Scalar) -> tuple[Scalar, ...]:
        operation = self.operation(scalar)
        return () if operation is None else operation.operands

    def _signature(self, scalar: Scalar) -> int:
        return self.signatures.get(scalar, 0)

    def _aligned(self, operands: Copies, first: Copies) -> Copies:
        """The operands of a commutative operation, in the order of those of another copy."""

        def score(operands):
            return sum(
                (a == b) + (self._signature(a) == self._signature(b))
                for a, b in zip(operands, first, strict=True)
            )

        return max(operands, operands[::-1], key=score)

    def _is_sum(self, scalar: Scalar) -> bool:
        operation = self.operation(scalar)
        return (
            operation is not None
            and operation.primitive is lax.add_p
            and operation.dtype == np.float64
            and not any(isinstance(operand, Constant) for operand in operation.operands)
        )

    def _body(self, columns: Sequence[Copies]) -> Body:
        body = Body({}, [], [])
        done = set()
        stack = [(copies, False) for copies in reversed(columns)]
        while stack:
            copies, has_operands = stack.pop()
            if copies in done and not has_operands:
                continue
            done.add(copies)
            common = None if len(set(copies)) == 1 else self._common(copies)
            if has_operands and common is not None:
                body.steps[copies] = common
            elif common is not None:
                stack.append((copies, True))
                stack += [(operand, False) for operand in reversed(common[1])]
            elif len(set(copies)) > 1:
                body.rows.append(copies)
            elif not isinstance(copies[0], Constant):
                body.shared.append(copies)
        return body

    def _common(self, copies: Copies) -> tuple[Operation, tuple[Copies, ...]] | None:
        """The operation of which all of these are results, and the copies of its operands.

        Where an operation was left out in some terms, because their constant is neutral, it is put
        back.
        """
        operations = [self.operation(scalar) for scalar in copies]
        runs = [self.neutral_runs.get(scalar, 0) for scalar in copies]
        usual, _ = Counter(runs).most_common(1)[0]
        operation = operations[runs.index(usual)]
        if operation is None or len({self.dtype(scalar) for scalar in copies}) > 1:
            return None
        operands = []
        for scalar, found, run in zip(copies, operations, runs, strict=True):
            own = found.operands if found and _kind(found) == _kind(operation) else None
            if own is not None and (run >= usual or own[-1] == operation.operands[-1]):
                operands.append(own)
            elif usual:
                neutral = np.asarray(NEUTRAL[operation.primitive], operation.dtype)
                operands.append((scalar, Constant.of(neutral)))
            else:
                return None
        if operation.primitive in COMMUTATIVE:
            operands = [self._aligned(scalars, operands[0]) for scalars in operands]
        columns = tuple(zip(*operands, strict=True))
        if any(len({self.dtype(scalar) for scalar in column}) > 1 for column in columns):
            return None
        if operation.primitive is entry_p and self._common(columns[0]) is None:
            return None  # a list is handed on by nothing but its entries
        return operation, columns


def _kind(operation: Operation | None):
    if operation is None:
        return None
    return operation.primitive, operation.dtype, operation.parameters, len(operation.operands)


def _is_neutral(operation: Operation) -> bool:
    """Whether there is a constant with which the operation would hand its operand on."""
    return operation.primitive in NEUTRAL and isinstance(operation.operands[-1], Constant)
