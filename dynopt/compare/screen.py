"""What is printed: results on stdout, everything else on stderr, and a progress bar there."""

import inspect
import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import OutputError
from . import gallery

if TYPE_CHECKING:
    from ..analysis import WeakError
    from .measurements import Results
    from .studies import Study


class Screen:
    """A terminal, a file or a pipe.

    If nobody reads it any more, the work goes on. Text that stdout refuses is reported at the end.
    """

    def __init__(self):
        self.quiet = False
        self.warnings: list[warnings.WarningMessage] = []
        self.tasks: Sequence[Future[Any]] = ()
        self.figures = self.figures_done = 0
        self.bar: Any = None
        self.error: OSError | None = None

    def say(self, text: str) -> None:
        """Print a result."""
        try:
            self._write(sys.stdout, text)
        except OSError as error:
            self.error = error

    def note(self, text: str) -> None:
        """Print a remark."""
        with suppress(OSError):
            self._write(sys.stderr, f"dynopt: {text}")

    def _write(self, stream: Any, text: str) -> None:
        """Write in the letters that the stream has, and without control characters."""
        if stream is None:
            return
        if self.bar is not None:
            self.bar.clear()
        text = "".join(
            c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
        )
        encoding = getattr(stream, "encoding", None) or "utf-8"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()

    def tell(self, table: str, written: Mapping[Path, bool]) -> None:
        """Print a table, its files and the warnings of the library; with --quiet the files only.

        - `written`: for each file whether it is new, or had these contents already.
        """
        if self.quiet:
            return self.say("\n".join(map(str, written))) if written else None
        files = [f"{path}{'' if new else ' (unchanged)'}" for path, new in written.items()]
        self.say("\n".join([*table.splitlines(), *files]) + "\n")
        messages = [
            str(warning.message)
            for warning in self.warnings
            if not issubclass(warning.category, DeprecationWarning)  # which are for authors
        ]
        for message in dict.fromkeys(messages):
            self.note(message)
        self.warnings.clear()

    def begin(self, tasks: "Sequence[Future[Any]]", figures: int) -> None:
        """Show a bar on a terminal, until all tasks are done and all figures are drawn."""
        self.tasks, self.figures = tasks, figures
        if not self.quiet and sys.stderr is not None and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(
                total=len(tasks) + figures,
                leave=False,
                bar_format="{desc:<32.32}{bar} {n_fmt}/{total_fmt} {elapsed}",
                ncols=80,
                file=sys.stderr,
            )

    def doing(self, what: str) -> None:
        if self.bar is not None:
            self.bar.n = sum(task.done() for task in self.tasks) + self.figures_done
            self.bar.set_description_str(what)

    def wait(self, task: "Future[Any]", what: str) -> Any:
        self.doing(what)
        while not wait([task], timeout=0.5).done:
            self.doing(what)
        return task.result()

    @property
    def progress(self) -> str:
        return f" after {self.figures_done} of {self.figures} figures" if self.figures else ""

    def exit_code(self, code: int) -> int:
        """The exit code, if everything that was said could be printed.

        **Raises:** `OutputError` if stdout refused it, as a full disk does.
        """
        if isinstance(self.error, BrokenPipeError):
            return code or 141
        if self.error is not None:
            raise OutputError(
                f"cannot print: {self.error.strerror}; but the files are written."
            ) from self.error
        return code

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def table(study: "Study", results: "Mapping[str, Results]") -> str:
    """The numbers of a study, one line for each optimizer; empty columns are left out."""
    rows = [
        {"optimizer": name, "h": _short(study.optimizers[name].h)} | _numbers(study, measured)
        for name, measured in results.items()
    ]
    heads = dict.fromkeys([head for row in rows for head in row if head] + [""])
    lines = [tuple(heads), *(tuple(row.get(head, "-") for head in heads) for row in rows)]
    return "\n".join([_title(study, results), *_aligned(lines)])


def _numbers(study: "Study", measured: "Results") -> dict[str, str]:
    """What was measured of one optimizer, by the heads of the columns; in the last, what failed."""
    import numpy as np

    from ..figures.drawing.laws import failed_paths, final_positions, variance_of
    from ..figures.drawing.words import failure
    from .measurements import ensembles_in

    what = study.problem.symbol if study.problem.owns_field else "loss"
    cells, failures = {}, []
    for comparison in measured.get("comparisons", ()):
        runs = comparison.map, comparison.flow
        losses = (np.asarray(run.loss)[-1] for run in runs)
        heads = f"{what} of map", f"{what} of flow", "largest error"
        numbers = map(_short, (*losses, comparison.largest))
        cells |= dict(zip(heads, numbers, strict=True)) | {"order": ""}
        failures += [f"{run.kind} {failure(run)}" for run in runs if failure(run)]
    for order in measured.get("orders", ()):
        cells["order"] = f"{order.slope:.3f} ± {order.stderr:.3f}".replace("nan ± nan", "-")
    for one in [*measured.get("samples", ()), *sum(measured.get("ensembles", ()), [])]:
        cells[f"mean {what} of {one.kind}"] = _with_error(*one.average(one.loss[:, -1]))
    for laws in measured.get("stationary", ()):
        law = laws[gallery.FACTORS.index(1.0)]
        for name in ("map", "flow", "modified"):
            moments = getattr(law, name)
            total = "-" if moments is None else _short(moments.cov[: law.dim, : law.dim].trace())
            cells[f"variance of {name}" + " flow" * (name == "modified")] = total
        for one in sum(measured["simulated"], []):
            if one.optimizer.h == law.optimizer.h:
                cells["simulated"] = _with_error(*variance_of(final_positions(one)))
    for weak in measured.get("weak_orders", ()):
        cells |= {"weak order": _slope(weak.flow)}
        cells |= {"against modified flow": _slope(weak.modified)} if weak.modified else {}
    failures += [text for one in ensembles_in(measured) if (text := failed_paths(one))]
    if "ensemble" in study.figures and "ensembles" not in measured:
        failures.append("no stochastic flow")
    return cells | {"": "; ".join(failures)}


def _slope(error: "WeakError") -> str:
    """The weak order with its standard error, if it has one."""
    if not error.order == error.order:  # NaN
        return "-"
    last = error.pairwise_stderr[error.pairwise == error.pairwise][-1]
    return _with_error(error.order, last) if last else f"{error.order:.3f}"


def _short(number: Any) -> str:
    return f"{float(number):.3g}".replace("nan", "-")


def _with_error(value: Any, error: Any) -> str:
    from ..figures.drawing.words import format_with_error

    text = format_with_error(float(value), float(error)).replace("\xa0", " ")
    return text.replace("NaN ± NaN", "-")


def _title(study: "Study", results: "Mapping[str, Results]") -> str:
    """What ran: the problem, the steps of the runs in the table, the start and the seed."""
    from ..figures.drawing.words import count_noun

    start = ", ".join([f"{x:.4g}" for x in study.start[:5]] + ["..."] * (study.start.size > 5))
    measured = {name for each in results.values() for name in each}
    steps = {"comparisons": study.steps, "ensembles": study.steps, "samples": study.long_steps}
    shown = [
        f", {count_noun(number, 'step')}" for name, number in steps.items() if name in measured
    ]
    seed = f", seed {study.options.seed or 0}" if study.options.is_random else ""
    return f"{study.problem.name}{''.join(shown[:1])} from ({start}){seed}"


def _aligned(rows: "Sequence[tuple[str, ...]]") -> list[str]:
    """The rows with columns of one width; empty columns are left out."""
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    padded = ([cell.ljust(max(map(len, column))) for cell in column] for column in columns)
    return ["  ".join(row).rstrip() for row in zip(*padded, strict=True)]


def listing(as_json: bool) -> str:
    """The names of all problems, games, optimizers and figures, and what each of them is."""
    from .. import optimizers, problems
    from ..optimizers.base import hyperparameter_defaults
    from ..optimizers.equations import equations
    from .kinds import OF_GAMES
    from .measurements import FIGURES
    from .values import FORMATS, STYLES

    def about(thing: Any) -> str:
        return (inspect.getdoc(thing) or "").partition("\n")[0]

    catalogues: dict[str, Mapping[str, Any]] = {
        "problems": problems.catalogue,
        "games": problems.games,
        "optimizers": optimizers.catalogue,
        "optimizers of games": OF_GAMES,
        "figures": FIGURES,
    }
    if not as_json:
        return "\n\n".join(
            "\n".join([kind, *(f"  {name:<20} {about(it)}" for name, it in catalogue.items())])
            for kind, catalogue in catalogues.items()
        )
    entries: dict[str, Any] = {
        kind: [{"name": name, "about": about(thing)} for name, thing in catalogue.items()]
        for kind, catalogue in catalogues.items()
    }
    for entry in entries["optimizers"]:
        kind = optimizers.catalogue[entry["name"]]
        entry |= {"options": hyperparameter_defaults(kind), **equations(kind)}
    return json.dumps(
        {"dynopt": __version__, **entries, "formats": FORMATS, "styles": STYLES},
        indent=2,
        allow_nan=False,
    )
