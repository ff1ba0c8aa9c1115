"""What is said: results on stdout, the rest on stderr, and there a bar while it lasts."""

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
    from .studies import Result, Study


class Screen:
    """A terminal, a file or a pipe. Who hangs up stops nothing; what cannot be printed is told at the end."""

    def __init__(self):
        self.quiet = False
        self.heard: list[warnings.WarningMessage] = []
        self.measures: Sequence[Future[Any]] = ()
        self.figures = self.drawn = 0
        self.bar: Any = None
        self.trouble: OSError | None = None

    def say(self, text: str) -> None:
        try:
            self._write(sys.stdout, text)
        except OSError as error:
            self.trouble = error

    def note(self, text: str) -> None:
        with suppress(OSError):
            self._write(sys.stderr, f"dynopt: {text}")

    def _write(self, stream: Any, text: str) -> None:
        """In the letters that the stream has, and without those that a terminal obeys."""
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
        """A table, the files that belong to it, and what the library warned of; with --quiet the files only."""
        if self.quiet:
            return self.say("\n".join(map(str, written))) if written else None
        files = [f"{path}{'' if new else ' (unchanged)'}" for path, new in written.items()]
        self.say("\n".join([*table.splitlines(), *files]) + "\n")
        told = [
            one for one in self.heard if not issubclass(one.category, DeprecationWarning)
        ]  # those are for authors
        for words in dict.fromkeys(str(warning.message) for warning in told):
            self.note(words)
        self.heard.clear()

    def begin(self, measures: "Sequence[Future[Any]]", figures: int) -> None:
        self.measures, self.figures = measures, figures
        if not self.quiet and sys.stderr is not None and sys.stderr.isatty():
            from tqdm import tqdm

            shape = "{desc:<32.32}{bar} {n_fmt}/{total_fmt} {elapsed}"
            self.bar = tqdm(
                total=len(measures) + figures,
                leave=False,
                bar_format=shape,
                ncols=80,
                file=sys.stderr,
            )

    def doing(self, what: str) -> None:
        if self.bar is not None:
            self.bar.n = sum(future.done() for future in self.measures) + self.drawn
            self.bar.set_description_str(what)

    def wait(self, future: "Future[Any]", what: str) -> Any:
        self.doing(what)
        while not wait([future], timeout=0.5).done:
            self.doing(what)
        return future.result()

    @property
    def progress(self) -> str:
        return f" after {self.drawn} of {self.figures} figures" if self.figures else ""

    def verdict(self, code: int) -> int:
        """The exit code, if all that was said could be heard.

        **Raises:** `OutputError` if stdout refused it, as a full disk does.
        """
        if isinstance(self.trouble, BrokenPipeError):
            return code or 141
        if self.trouble is not None:
            raise OutputError(
                f"cannot print: {self.trouble.strerror}; but the files are written."
            ) from self.trouble
        return code

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def table(study: "Study", results: "Mapping[str, Result]") -> str:
    """The numbers of a study, one optimizer a line; a column without any is left out."""
    import numpy as np

    from ..figures.drawing.words import counted, failure

    rows: list[tuple[str, ...]] = [
        ("optimizer", "h", "loss of map", "loss of flow", "largest gap", "order", "")
    ]
    for name, result in results.items():
        runs = result.comparison.map, result.comparison.flow
        numbers = (
            study.optimizers[name].h,
            *(np.asarray(run.loss)[-1] for run in runs),
            result.comparison.largest,
        )
        order = (
            f"{result.order.slope:.3f} ± {result.order.stderr:.3f}".replace("nan ± nan", "-")
            if result.order
            else ""
        )
        ends = (f"{run.kind} {failure(run)}" for run in runs if failure(run))
        rows.append(
            (
                name,
                *(f"{float(x):.3g}".replace("nan", "-") for x in numbers),
                order,
                "; ".join(ends),
            )
        )
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    padded = ([cell.ljust(max(map(len, column))) for cell in column] for column in columns)
    start = ", ".join([f"{x:.4g}" for x in study.start[:5]] + ["..."] * (study.start.size > 5))
    title = f"{study.problem.name}, {counted(study.steps, 'step')} from ({start})"
    return "\n".join([title, *("  ".join(row).rstrip() for row in zip(*padded, strict=True))])


def listing(as_json: bool) -> str:
    """All names, and in a line each what they stand for."""
    from .. import figures, optimizers, problems
    from ..optimizers.equations import equations
    from .options import FORMATS, STYLES

    def about(thing: Any) -> str:
        return (inspect.getdoc(thing) or "").partition("\n")[0]

    def arguments(optimizer: type) -> dict[str, Any]:
        _, *own = inspect.signature(optimizer.__init__).parameters.values()
        return {one.name: None if one.default is one.empty else one.default for one in own}

    rooms: dict[str, Mapping[str, Any]]
    rooms = {
        "problems": problems.catalogue,
        "optimizers": optimizers.catalogue,
        "figures": figures.catalogue,
    }
    if not as_json:
        lines = (
            [room, *(f"  {name:<20} {about(it)}" for name, it in names.items())]
            for room, names in rooms.items()
        )
        return "\n\n".join("\n".join(room) for room in lines)
    found: dict[str, Any] = {
        room: [{"name": name, "about": about(thing)} for name, thing in names.items()]
        for room, names in rooms.items()
    }
    for entry in found["optimizers"]:
        optimizer = optimizers.catalogue[entry["name"]]
        entry |= {"options": arguments(optimizer), **equations(optimizer)}
    return json.dumps(
        {"dynopt": __version__, **found, "formats": FORMATS, "styles": STYLES},
        indent=2,
        allow_nan=False,
    )
