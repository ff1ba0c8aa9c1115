"""A program of scalars as the text of a JavaScript function."""

import re
from collections.abc import Iterator, Sequence
from itertools import count, product
from string import ascii_letters
from typing import Any

import jax
import numpy as np
from jax.lax import RoundingMethod

from ..errors import InvalidValue
from .loops import column_sum_p, rows_p, with_loops
from .opaque_gradient import entry_p, gradient_p
from .program import Constant, Operation, Program, Scalar

# How each operation is written, by the kind of its operands; `{0}`, `{1}`, ... are the operands.
OF_ALL = {
    "add": "{}+{}", "sub": "{}-{}", "mul": "{}*{}", "neg": "-{}",
    "abs": "Math.abs({})", "sign": "Math.sign({})",
    "max": "Math.max({},{})", "min": "Math.min({},{})",
    "clamp": "Math.min(Math.max({1},{0}),{2})",
    "eq": "{}==={}", "ne": "{}!=={}", "lt": "{}<{}", "gt": "{}>{}", "le": "{}<={}", "ge": "{}>={}",
    "select_n": "{0}?{2}:{1}",
}  # fmt: skip
OF_FLOATS = OF_ALL | {
    "div": "{}/{}", "rem": "{}%{}", "atan2": "Math.atan2({},{})", "is_finite": "isFinite({})",
    # IEEE 754 has 1 where JavaScript has NaN: the powers 1^NaN, 1^inf, 1^-inf, (-1)^inf, (-1)^-inf
    "pow": "{0}===1||{0}===-1&&Math.abs({1})===Infinity?1:Math.pow({0},{1})",
    "exp2": "Math.pow(2,{})", "rsqrt": "1/Math.sqrt({})", "logistic": "1/(1+Math.exp(-{}))",
} | {
    name: f"Math.{name}({{}})"
    for name in "acos acosh asin asinh atan atanh cbrt ceil cos cosh exp expm1 floor log log1p sin "
    "sinh sqrt tan tanh".split()
}  # fmt: skip
# In JavaScript an integer is a float, which must not become -0: so x + 0 and 0 - x.
OF_INT64 = OF_ALL | {
    "neg": "0-{}", "mul": "{}*{}+0",
    "div": "{1}===0?-1:Math.trunc({0}/{1})+0", "rem": "{1}===0?{0}:{0}%{1}+0",
}  # fmt: skip
OF_INT32 = OF_INT64 | {
    "mul": "Math.imul({},{})", "and": "{}&{}", "or": "{}|{}", "xor": "{}^{}", "not": "~{}",
}  # fmt: skip
OF_BOOLEANS = OF_ALL | {"and": "{}&&{}", "or": "{}||{}", "xor": "{}!=={}", "not": "!{}"}
EXPRESSIONS = {
    "bool": OF_BOOLEANS, "int32": OF_INT32, "int64": OF_INT64,
    "float32": OF_FLOATS, "float64": OF_FLOATS,
}  # fmt: skip
# From 2⁵² on, every number is whole, so that the sum is rounded as JAX rounds: halves to even.
ROUND = {
    RoundingMethod.TO_NEAREST_EVEN: "Math.abs({0})<4503599627370496?"
    "Math.sign({0})*(Math.abs({0})+4503599627370496-4503599627370496):{0}",
    RoundingMethod.AWAY_FROM_ZERO: "Math.abs({0}%1)<.5?Math.trunc({0}):"
    "Math.trunc({0})+Math.sign({0})",
}
LARGEST_INTEGER = 2**53 - 1  # up to it, JavaScript knows every integer
RESERVED = set(
    "arguments await break case catch class const continue debugger default delete do else enum "
    "eval export extends false finally for function if implements import in instanceof interface "
    "let new null package private protected public return static super switch this throw true try "
    "typeof var void while with yield Infinity Math NaN isFinite undefined".split()
)


def to_javascript(program: Program, name: str) -> str:
    """The text of a JavaScript function that computes what the traced function computes.

    The function takes the arguments of the traced function and after them, if the program asks for
    an opaque gradient, the list of the functions x ↦ ∇f(x), (x, v) ↦ D∇f(x)[v], (x, v, w) ↦
    D²∇f(x)[v, w], ..., `program.num_gradients` of them. An argument, or a result, that is one
    scalar is a number; any other is the list of its numbers, in the order of its leaves and each
    leaf row by row. So a program of a gradient, or of its derivative, is such a function.

    Each operation is rounded as JAX rounds it: a float32 by `Math.fround`, an int32 by `|0`.
    Integers of 64 bits are exact up to 2⁵³ - 1. Functions such as exp are those of the browser,
    which differ in the last bits. JAX on a CPU flushes denormal numbers to 0, and JavaScript does
    not. Long sums of like terms, such as those over data, are loops, whose terms are written once.
    The same program gives the same text. A float out of range becomes the nearest int32; none
    may become an int64 beyond 2⁵³ - 1.

    - `program`: what `trace` returns.
    - `name`: the name of the function in JavaScript.

    **Raises:** `InvalidValue` for a name that is none in JavaScript, for operations that its `Math`
    does not have, such as `erf`, and for integers beyond 2⁵³.

    >>> import jax
    >>> from dynopt.scalar import trace
    >>> with jax.enable_x64(True):  # as JavaScript computes
    ...     program = trace(lambda x, y: [jax.numpy.exp(x) / 2, x + y], 1.0, 1.0)
    >>> print(to_javascript(program, "f"))
    function f($0,$1){
    const a=Math.exp($0),
    b=a/2,
    c=$0+$1;
    return [b,c]}
    """
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) or name in RESERVED:
        raise InvalidValue(
            f"`name` is {name!r}, which is no name of a function in JavaScript; use letters, "
            'digits and _, such as "step".'
        )
    inputs = [*_inputs(program)]
    body = _body(with_loops(program), inputs, _names())
    parameters = [f"${i}" for i in range(len(program.arguments))]
    parameters += ["$"] if program.num_gradients else []
    return f"function {name}({','.join(parameters)}){{\n{body}}}"


def _body(program: Program, inputs: Sequence[tuple[str, np.dtype]], names: Iterator[str]) -> str:
    """The statements of a function, whose inputs are written as given with their dtypes."""
    texts, dtypes = [text for text, _ in inputs], [dtype for _, dtype in inputs]
    declarations = []
    for operation in program.operations:
        operands = [_text(scalar, texts) for scalar in operation.operands]
        if operation.primitive is rows_p:
            given = [_dtype(scalar, dtypes) for scalar in operation.operands]
            expression = _rows(operation, operands, given, names)
        else:
            expression = _expression(operation, operands, dtypes)
        if not re.fullmatch(r"[\w$]+(\[\d+\])?", expression):
            declarations.append(f"{next(names)}={expression}")
            expression, _, _ = declarations[-1].partition("=")
        texts.append(expression)
        dtypes.append(operation.dtype)
    outputs = ",".join(_text(scalar, texts) for scalar in program.outputs)
    result = outputs if _is_number(program.result) else f"[{outputs}]"
    statements = "const " + ",\n".join(declarations) + ";\n" if declarations else ""
    return f"{statements}return {result}"


def _rows(
    operation: Operation, operands: list[str], dtypes: list[np.dtype], names: Iterator[str]
) -> str:
    """The list of what one program returns for each row; names of other numbers hold in it."""
    parameters = dict(operation.parameters)
    body, width, row = parameters["body"], parameters["width"], next(names)
    num_shared = body.num_inputs - width
    own = [row] if width == 1 else [f"{row}[{i}]" for i in range(width)]
    inputs = zip([*operands[:num_shared], *own], dtypes[: body.num_inputs], strict=True)
    numbers = operands[num_shared:]
    rows = [",".join(numbers[i : i + width]) for i in range(0, len(numbers), width)]
    rows = rows if width == 1 else [f"[{text}]" for text in rows]
    return f"[{','.join(rows)}].map({row}=>{{{_body(body, [*inputs], names)}}})"


def _dtype(scalar: Scalar, dtypes: list[np.dtype]) -> np.dtype:
    return scalar.dtype if isinstance(scalar, Constant) else dtypes[scalar]


def _is_number(shapes: Any) -> bool:
    return isinstance(shapes, jax.ShapeDtypeStruct) and shapes.shape == ()


def _inputs(program: Program) -> Iterator[tuple[str, np.dtype]]:
    """How each number of the arguments is written, and its dtype."""
    for i, argument in enumerate(program.arguments):
        places = count()
        for leaf in jax.tree.leaves(argument):
            for _ in range(leaf.size):
                yield f"${i}" if _is_number(argument) else f"${i}[{next(places)}]", leaf.dtype


def _names() -> Iterator[str]:
    """a, b, ..., Z, aa, ab, ...; the names of arguments begin with $, so that none is twice."""
    for length in count(1):
        for letters in product(ascii_letters, repeat=length):
            if (name := "".join(letters)) not in RESERVED:
                yield name


def _text(scalar: Scalar, texts: list[str]) -> str:
    return _literal(scalar.value) if isinstance(scalar, Constant) else texts[scalar]


def _literal(value: Any) -> str:
    """The shortest text with this value."""
    if value.dtype.kind == "b":
        return "true" if value else "false"
    if value.dtype.kind == "i" and abs(int(value)) > LARGEST_INTEGER:
        raise InvalidValue(
            f"the program holds the integer {value}, but JavaScript knows integers up to 2**53 - 1 "
            "only; use floating-point numbers."
        )
    if not np.isfinite(value):
        text = "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    else:
        text = repr(value.item()).removesuffix(".0")
    return f"({text})" if text.startswith("-") else text


def _expression(operation: Operation, operands: list[str], dtypes: list[np.dtype]) -> str:
    """The right-hand side that computes an operation on numbers that are written as `operands`."""
    parameters, name = dict(operation.parameters), operation.primitive.name
    if operation.primitive is gradient_p:
        size = parameters["size"]
        points = [operands[i : i + size] for i in range(0, len(operands), size)]
        lists = ",".join(f"[{','.join(point)}]" for point in points)
        return f"$[{len(points) - 1}]({lists})"
    if operation.primitive is entry_p:
        return f"{operands[0]}[{parameters['index']}]"
    if operation.primitive is column_sum_p:
        rows, start = operands
        return f"{rows}.reduce((s,r)=>s+r[{parameters['index']}],{start})"
    given = _dtype(operation.operands[-1], dtypes)
    dtype = given if operation.dtype.kind == "b" else operation.dtype  # of a comparison, too
    if name == "convert_element_type":
        template = _conversion(given, operation.dtype)
    elif name == "round":
        template = ROUND[parameters["rounding_method"]]
    elif name in EXPRESSIONS[dtype.name]:
        template = EXPRESSIONS[dtype.name][name]
    else:
        raise InvalidValue(
            f"JavaScript has no operation `{name}` for {dtype.name}; write it with arithmetic and "
            "functions such as jnp.exp and jnp.where."
        )
    expression = template.format(*operands)
    if operation.dtype == np.float32:
        return f"Math.fround({expression})"
    return f"({expression})|0" if operation.dtype == np.int32 else expression


def _conversion(old: np.dtype, new: np.dtype) -> str:
    if new.kind == "b":
        return "{}!==0"
    if old.kind == "b":
        return "+{}"
    if old.kind == "f" and new == np.int64:
        return "Math.trunc({})||0"  # 0 for NaN, and for -0
    if old.kind == "f" and new == np.int32:
        return "Math.max(-2147483648,Math.min(2147483647,Math.trunc({})))"
    return "{}"
