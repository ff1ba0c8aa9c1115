"""`explore`: optimizers and losses live in one HTML file, which computes everything itself."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import diffrax
import jax
import matplotlib as mpl

from .. import __version__
from ..analysis import suggested_rates
from ..checks import whole_number
from ..errors import InvalidValue
from ..figures.drawing.style import colors_of, numbered, readable_color
from ..files import printable, write
from ..optimizers import SGD, AbstractOptimizer, Adam, Momentum, RMSprop
from ..optimizers.base import must_be_optimizer
from ..problems import Problem
from ..problems.problem import must_be_problem
from .traced import (
    Part,
    constructor_of,
    must_follow_the_gradient,
    must_suit_all,
    must_suit_the_field,
    start_in_a_plane,
    traced_optimizer,
    traced_problem,
)
from .widget import widget_class

MAX_BYTES = 300_000  # of the file
MOST_STEPS = 200
HEIGHT = 940  # of the frame in a notebook, in pixels
ENGINE = ("flow", "comparison")  # the modules that compute, also in the worker
SCREEN = (
    "format", "scene", "drawing", "plane", "curves", "words", "python", "column", "controls",
    "worker", "main",
)  # fmt: skip
BACKGROUNDS = {"color": ("#ffffff", "#22262c"), "dark": ("#171b21", "#eef1f5")}  # of planes
# Multiples of the suggested learning rates at which a map differs visibly from its flow.
VIVID = {SGD: 3.4, Momentum: 2.0, RMSprop: 1.0, Adam: 2.0}


@dataclass(frozen=True)
class Explorer:
    """A web page in which optimizers run on losses of two coordinates, as `explore` makes it.

    In a notebook it shows itself, in Jupyter, VS Code and Colab alike, and stays there when the
    notebook is saved. It needs neither the network nor a kernel.

    - `html`: the text of the file.
    - `problems`, `optimizers`: the names in it.
    """

    html: str = field(repr=False)
    problems: tuple[str, ...]
    optimizers: tuple[str, ...]

    def save(self, path: str | Path) -> None:
        """Write the web page into the file at `path`, whole or not at all.

        **Raises:** `OutputError` if the disk refuses; `InvalidType` and `InvalidValue` for a path
        that is none.
        """
        write(path, self.html.encode())

    def with_facts(self, facts: Mapping[str, str]) -> "Explorer":
        """The same web page, with facts about itself in its head, such as who made it."""
        return replace(self, html=_with_facts(self.html, facts))

    def widget(self) -> Any:
        """The same web page for a notebook, which tells Python what the reader has chosen.

        Its `scene` is a dict: the name of the `problem`, the start `x0`, the number of `steps`
        before the time step was divided by `n`, and `hyper`, the hyperparameters by the names of
        the optimizers. It is empty until the web page is shown. VS Code and Colab load a part of
        anywidget from the network.

        **Raises:** `EnvironmentProblem` if the library anywidget is missing.
        """
        return widget_class()(frame=self._repr_html_())

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{html.escape(self.html)}" sandbox="allow-scripts" '
            'allow="clipboard-write" '
            f'title="Map and flow" style="width:100%;height:{HEIGHT}px;border:0"></iframe>'
        )


def explore(
    problem: Problem | Sequence[Problem],
    optimizers: AbstractOptimizer | Sequence[AbstractOptimizer] | None = None,
    steps: int = 50,
    *,
    x0: Any = None,
) -> Explorer:
    """A web page in which optimizers run on losses live: the map as dots beside its flow.

    A reader clicks a start, moves the hyperparameters, plays the runs and halves the time step. The
    browser computes every step itself, in double precision, by the programs that JAX traces here,
    so that its numbers are those of Python. It is one file, which asks the network for nothing.

    - `problem`: a problem with two coordinates, or several, among which the reader chooses.
    - `optimizers`: an optimizer, or several: dynopt's own, wrappers, your own classes, or
      `dynopt.Optax`. Their hyperparameters are those with which it begins. By default `SGD`,
      `Momentum`, `RMSprop` and `Adam`, with learning rates for each problem at which map and flow
      differ visibly.
    - `steps`: the number of steps with which it begins, at most 200; by default 50.
    - `x0`: the start with which it begins, for all problems; by default the start of each problem.

    What can be moved: the numbers from which an optimizer is made, those of the optimizer inside of
    a wrapper, and of any other, such as `Optax`, the time step. Modified flows that are too long
    for the file are left out.

    It exposes `dynopt.names()`, `dynopt.map(name, hyperparameters, x0, steps)`,
    `dynopt.flow(name, hyperparameters, x0, steps)` and `dynopt.loss(x)` to scripts, with positions
    at the times t = k h.

    **Raises:** `InvalidType` for what is no problem, no optimizer or no position; `InvalidValue`
    for a problem with other than two coordinates, a start that suits none of its positions, an
    optimizer without a flow, or one that needs more of a game than its field and derivatives along
    vectors, for operations without a translation into JavaScript, and for more than 300 kB.

    >>> from dynopt import SGD, problems
    >>> explore(problems.quadratic(), SGD(0.17))
    Explorer(problems=('quadratic',), optimizers=('SGD',))
    """
    given = _as_tuple(problem)
    if not given:
        raise InvalidValue("`problem` is empty; pass a dynopt.Problem, or several.")
    for item in given:
        must_be_problem(item)
    steps = whole_number("steps", steps, least=1, most=MOST_STEPS, like=50)
    chosen = None if optimizers is None else _as_tuple(optimizers)
    if chosen == ():
        raise InvalidValue("`optimizers` is empty; pass an optimizer such as dynopt.SGD(0.1).")
    for item in chosen or ():
        must_be_optimizer(item)
    with jax.enable_x64(True):  # JavaScript computes in double precision
        return _explore(given, chosen, steps, x0)


def _as_tuple(value: Any) -> tuple:
    if isinstance(value, Problem | AbstractOptimizer | str) or not isinstance(value, Iterable):
        return (value,)
    return tuple(value)


def _explore(
    given: tuple[Problem, ...], chosen: tuple[AbstractOptimizer, ...] | None, steps: int, x0: Any
) -> Explorer:
    starts = [start_in_a_plane(p, x0) for p in given]
    of_problems = [
        vivid_optimizers(p, steps, start) if chosen is None else chosen
        for p, start in zip(given, starts, strict=True)
    ]
    shown = of_problems[0]
    for optimizer in shown:
        must_suit_all(optimizer, given)
        for one_problem in given:
            must_follow_the_gradient(optimizer, one_problem)
            must_suit_the_field(optimizer, one_problem)
    names = numbered([printable(o.own_name or o.name) for o in shown])
    problem_names = numbered([printable(p.name) for p in given])
    values = [[tuple(constructor_of(o).values.values()) for o in row] for row in of_problems]
    parts = [
        Part(part.description | colors, part.functions)
        for part, colors in zip(
            (traced_optimizer(o, name, given[0]) for o, name in zip(shown, names, strict=True)),
            readable_colors(shown),
            strict=True,
        )
    ]
    order = max(1, *(part.order for part in parts))
    losses = [
        _renamed(traced_problem(p, start, steps, v, order), name)
        for p, start, v, name in zip(given, starts, values, problem_names, strict=True)
    ]
    text = text_of_file(losses, parts)
    return Explorer(text, tuple(problem_names), tuple(names))


def _renamed(part: Part, name: str) -> Part:
    return Part(part.description | {"name": name}, part.functions)


def vivid_optimizers(problem: Problem, steps: int, x0: Any = None) -> tuple[AbstractOptimizer, ...]:
    """The optimizers by default, whose maps differ visibly from their flows.

    **Raises:** `InvalidValue` for a game, and otherwise as `suggested_rates` does.
    """
    if not problem.conservative:
        raise InvalidValue(
            f"`optimizers` is required for {printable(problem.name)}, whose field is no gradient; "
            "pass for example [dynopt.SGD(0.1), dynopt.Optimistic(0.1)]."
        )
    rates = suggested_rates(problem, {kind.__name__: kind for kind in VIVID}, steps, x0)
    made = {kind: float(f"{VIVID[kind] * rates[kind.__name__]:.2g}") for kind in VIVID}
    return (
        SGD(made[SGD]),
        Momentum(made[Momentum]),
        RMSprop(made[RMSprop], bias_correction=True),
        Adam(made[Adam], b2=0.99),
    )


def readable_colors(shown: Sequence[AbstractOptimizer]) -> list[dict[str, str]]:
    """The colours of the figures, readable as text on white and on dark."""
    columns = {}
    for name, (background, ink) in BACKGROUNDS.items():
        with mpl.rc_context({"figure.facecolor": background, "text.color": ink}):
            columns[name] = [readable_color(color) for color in colors_of(shown)]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def text_of_file(losses: Sequence[Part], optimizers: Sequence[Part]) -> str:
    """The text of the file; modified flows are left out, the longest first, until it is short.

    **Raises:** `InvalidValue` if it is too long without them.
    """
    optimizers = list(optimizers)
    while len(text := _text(losses, optimizers)) > MAX_BYTES:
        longest = max(optimizers, key=lambda part: len(part.functions.get("modified", "")))
        if "modified" not in longest.functions:
            part = max((*losses, *optimizers), key=lambda part: part.size)
            raise InvalidValue(
                f"the file would take {len(text) // 1000} kB, more than {MAX_BYTES // 1000}, of "
                f"which {part.description['name']} takes {part.size // 1000}; pass fewer "
                "optimizers or problems, or a loss over less data."
            )
        kept = {k: f for k, f in longest.functions.items() if k not in ("modified", "initModified")}
        optimizers[optimizers.index(longest)] = Part(longest.description, kept)
    return text


def _text(losses: Sequence[Part], optimizers: Sequence[Part]) -> str:
    script, style = _script(losses, optimizers), _read("style.css")
    names = ", ".join(part.description["name"] for part in losses)
    values = {
        "POLICY": "default-src 'none'; img-src data:; worker-src blob:; base-uri 'none'; "
        f"form-action 'none'; script-src {_digest(script)}; style-src {_digest(style)}",
        "TITLE": html.escape(f"Map and flow on {names}"),
        "STYLE": style,
        "SCRIPT": script,
    }
    text = re.sub(r"\{\{([A-Z]+)\}\}", lambda match: values[match[1]], _read("index.html"))
    return _with_facts(text, {"generator": f"dynopt {__version__}"})


def _with_facts(text: str, facts: Mapping[str, str]) -> str:
    lines = (
        f'<meta name="{html.escape(name)}" content="{html.escape(printable(fact))}">\n'
        for name, fact in facts.items()
    )
    head, title, rest = text.partition("</title>\n")
    return "".join([head, title, *lines, rest])


def _script(losses: Sequence[Part], optimizers: Sequence[Part]) -> str:
    engine, exported = _joined(ENGINE)
    names = ", ".join(["OPTIMIZERS", "PROBLEMS", *exported])
    screen, _ = _joined(SCREEN)
    return (
        '"use strict";\n(() => {\n'
        f"function engine() {{\n{_constants(losses, optimizers)}{engine}return {{ {names} }};\n}}\n"
        f"const {{ {names} }} = engine();\n{screen}}})();"
    )


def _constants(losses: Sequence[Part], optimizers: Sequence[Part]) -> str:
    solver: Any = diffrax.Dopri8
    tableau = {
        "order": 8,
        "a": [row.tolist() for row in solver.tableau.a_lower],
        "c": [0.0, *solver.tableau.c.tolist()],
        "error": solver.tableau.b_error.tolist(),
        "dense": solver.interpolation_cls.eval_coeffs.tolist(),
    }
    constants = {
        "OPTIMIZERS": f"[{','.join(map(_object, optimizers))}]",
        "PROBLEMS": f"[{','.join(map(_object, losses))}]",
        "TABLEAU": _json(tableau),
    }
    return "".join(f"const {name} = {value};\n" for name, value in constants.items())


def _object(part: Part) -> str:
    members = [f"{json.dumps(key)}:{_json(value)}" for key, value in part.description.items()]
    members += [f"{name}:{text.strip()}" for name, text in part.functions.items()]
    return f"\n{{{','.join(members)}}}"


def _json(value: Any) -> str:
    """JSON that may stand in a script: no `<`, and nothing but ASCII."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _joined(names: Sequence[str]) -> tuple[str, list[str]]:
    """Modules of JavaScript as one text without imports, and the names that they export.

    Each module is a function that is called at once, so that its other names are its own.
    """
    texts, exported = [], []
    for name in names:
        module = re.sub(r"^import [^;]*;\n", "", _read(f"{name}.js"), flags=re.MULTILINE)
        own = re.findall(r"^export (?:const|function) (\w+)", module, flags=re.MULTILINE)
        module = re.sub(r"^export ", "", module, flags=re.MULTILINE)
        members = f"{{ {', '.join(own)} }}"
        texts.append(f"const {members} = (() => {{\n{module}return {members};\n}})();\n")
        exported += own
    return "".join(texts), exported


@cache
def _read(name: str) -> str:
    return (Path(__file__).parent / "page" / name).read_text("utf-8")


def _digest(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
