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

if TYPE_CHECKING:
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
    import numpy as np

    from ..figures.drawing.words import failure

    what = study.problem.symbol if study.problem.owns_field else "loss"
    heads = ("optimizer", "h", f"{what} of map", f"{what} of flow", "largest error", "order", "")
    rows: list[tuple[str, ...]] = [heads]
    for name, measured in results.items():
        if "ensembles" in measured:
            return _table_of_paths(study, results)
        (comparison,), orders = measured["comparisons"], measured.get("orders", ())
        runs = comparison.map, comparison.flow
        losses = (np.asarray(run.loss)[-1] for run in runs)
        numbers = study.optimizers[name].h, *losses, comparison.largest
        slopes = (f"{order.slope:.3f} ± {order.stderr:.3f}" for order in orders)
        failures = (f"{run.kind} {failure(run)}" for run in runs if failure(run))
        rows.append(
            (
                name,
                *(f"{float(number):.3g}".replace("nan", "-") for number in numbers),
                "".join(slopes).replace("nan ± nan", "-"),
                "; ".join(failures),
            )
        )
    return "\n".join([_title(study), *_aligned(rows)])


def _table_of_paths(study: "Study", results: "Mapping[str, Results]") -> str:
    """The mean losses at the end of random paths, with standard errors."""
    from ..figures.drawing.words import format_with_error

    what = study.problem.symbol if study.problem.owns_field else "loss"
    rows: list[tuple[str, ...]] = []
    rows += [("optimizer", "h", f"mean {what} of map", f"mean {what} of flow", "")]
    for name, measured in results.items():
        (pair,) = measured["ensembles"]
        means = (map(float, one.average(one.loss[:, -1])) for one in pair)
        failed = (
            f"{len(one.ok) - int(one.num_ok)} of {len(one.ok)} paths of the {one.kind} failed"
            for one in pair
            if not one.ok.all()
        )
        numbers = (format_with_error(*mean).replace("\xa0", " ") for mean in means)
        rows.append((name, f"{float(study.optimizers[name].h):.3g}", *numbers, "; ".join(failed)))
    return "\n".join([f"{_title(study)}, seed {study.options.seed or 0}", *_aligned(rows)])


def _title(study: "Study") -> str:
    from ..figures.drawing.words import count_noun

    start = ", ".join([f"{x:.4g}" for x in study.start[:5]] + ["..."] * (study.start.size > 5))
    return f"{study.problem.name}, {count_noun(study.steps, 'step')} from ({start})"


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
