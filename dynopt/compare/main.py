"""The command line: arguments in, files out. It alone prints, parses and saves.

    python -m dynopt.compare --problem rosenbrock --optimizers sgd,adam --figures paths

`--help` lists the options. Results go to stdout, everything else to stderr.

| exit code | meaning                                                              |
|-----------|----------------------------------------------------------------------|
| 0         | everything that was asked for has been done                          |
| 1         | a bug in dynopt; its traceback is in a file, which is named          |
| 2         | an option, a configuration or a problem that cannot be used          |
| 3         | with `--strict`: some run failed (and everything has been written)   |
| 4         | a file that cannot be written                                        |
| 5         | something is missing on this machine, or hidden                      |
| 130, 143  | stopped by Ctrl-C or by SIGTERM; finished files stay                 |
"""

import os
import shlex
import signal
import sys
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .. import __version__
from ..errors import DynoptError, EnvironmentProblem, InvalidValue, OutputError
from . import process
from .screen import Screen, listing, table

if TYPE_CHECKING:  # whatever needs JAX is imported late, once it is known to be there
    from .measurements import Results
    from .options import Options
    from .studies import Study

EXIT_CODES: dict[type, int] = {OutputError: 4, EnvironmentProblem: 5}  # any other error: 2
WORKERS = min(4, os.cpu_count() or 1)  # while XLA compiles for one, Python traces the next
SHAPING = (
    "optimizers",
    "learning_rate",
    "set",
    "steps",
    "x0",
    "noise",
    "batch",
    "temperature",
    "seed",
    "dpi",
    "style",
)


def run() -> NoReturn:
    """`main` as a process of its own."""
    process.run(main)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the arguments ask, by default those of this process, and return the exit code.

    Nothing is left behind in this process: no option of JAX or matplotlib, no variable, no path.
    """
    screen = Screen()
    try:
        return screen.exit_code(_obey(list(sys.argv[1:] if argv is None else argv), screen))
    except DynoptError as error:
        screen.note(str(error))
        return EXIT_CODES.get(type(error), 2)
    except KeyboardInterrupt as interrupt:
        number = interrupt.args[0] if interrupt.args else signal.SIGINT
        screen.note(f"stopped by {process.sender(number)}{screen.progress}.")
        return 128 + number
    except Exception as error:
        screen.note(
            f"a bug in dynopt, {type(error).__name__}; please report it, with its traceback in "
            f"{process.write_report()}."
        )
        return 1
    finally:
        screen.close()


def _obey(argv: list[str], screen: Screen) -> int:
    """Answer a question at once, or make ready and compare."""
    from .arguments import read
    from .options import HELP

    options = read(argv)
    screen.quiet = options.quiet
    if options.help:
        screen.say(HELP)
        return 0
    if options.version:
        screen.say(f"dynopt {__version__}")
        return 0
    if options.json and not options.list:
        raise InvalidValue("`--json` belongs to --list; write --list --json.")
    process.must_be_somewhere()
    process.refuse_impostors()
    process.import_libraries()
    process.answer_signals(process.interrupt, instead_of=process.end)
    if options.list:
        screen.say(listing(options.json))
        return 0

    import jax

    from .script import script
    from .studies import plan

    with jax.enable_x64(True), warnings.catch_warnings(record=True) as messages:
        warnings.simplefilter("always")
        screen.warnings = messages
        studies = plan(options)
        if options.show_code:
            command = _command(options, problem=options.problem, figures=options.figures)
            screen.say(script(studies, command))
            return 0
        return _compare(studies, options, screen)


def _compare(studies: "Sequence[Study]", options: "Options", screen: Screen) -> int:
    """Measure, draw, write and print, one study after the other.

    While one study is drawn, the next is measured.
    """
    from .measurements import has_failed, measure, whole_runs
    from .provenance import must_be_writable, pack_runs, write_if_changed

    saved = [Path(options.save)] if options.save else []
    for path in [path for study in studies for path in paths(study, study.figures)] + saved:
        must_be_writable(path, force=options.force)

    runs, has_failure = {}, False
    pool = ThreadPoolExecutor(WORKERS)
    try:
        tasks = {
            (place, name): pool.submit(measure, study, name)
            for place, study in enumerate(studies)
            for name in study.optimizers
        }
        screen.begin(list(tasks.values()), sum(len(study.figures) for study in studies))
        slugs = [study.slug for study in studies]
        for place, study in enumerate(studies):
            label = (
                f"{study.slug}-{study.figures[0]}" if slugs.count(study.slug) > 1 else study.slug
            )
            results = {
                name: screen.wait(tasks[place, name], f"measuring {study.slug}")
                for name in study.optimizers
            }
            screen.tell(table(study, results), _draw(study, results, screen))
            has_failure |= any(map(has_failed, results.values()))
            for name, measured in results.items() if saved else ():
                runs |= {f"{label}.{name}.{run.kind}": run for run in whole_runs(measured)}
        for path in saved:
            command = _command(options, problem=options.problem)
            data = pack_runs(runs, command=command, **_seed(options))
            screen.tell("", {path: write_if_changed(path, data)})
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return 3 if options.strict and has_failure else 0


def _draw(study: "Study", results: "Mapping[str, Results]", screen: Screen) -> dict[Path, bool]:
    """Draw every figure of a study into its files; for each file whether it is new."""
    from .measurements import draw
    from .provenance import render, write_if_changed

    written = {}
    for figure in study.figures:
        screen.doing(f"drawing {figure} of {study.slug}")
        facts = {
            "title": f"{study.problem.name}: {figure}",
            "command": _command(study.options, problem=(study.called,), figures=(figure,)),
            "dtype": str(study.start.dtype),
            **_seed(study.options),
        }
        for names, files in study.files(figure).items():
            picture = draw(study, figure, [results[name] for name in names])
            if picture is None:
                screen.note(
                    f"no {figure} of {study.problem.name}, as no run of "
                    f"{', '.join(names)} lasted long enough."
                )
                continue
            for path in (Path(study.options.output, file) for file in files):
                data = render(picture, path.suffix[1:], **facts, dpi=study.options.dpi)
                written[path] = write_if_changed(path, data)
        screen.figures_done += 1
    return written


def _seed(options: "Options") -> dict[str, str]:
    return {"seed": str(options.seed or 0)} if options.is_random else {}


def paths(study: "Study", figures: Sequence[str]) -> list[Path]:
    """The files into which these figures of a study are drawn."""
    drawn = [files for figure in figures for files in study.files(figure).values()]
    return [Path(study.options.output, file) for files in drawn for file in files]


def _command(options: "Options", **values: Any) -> str:
    """What to type for these `values`, and for whatever else shapes the pictures."""
    from .options import Options, flag
    from .values import as_typed

    values |= {name: getattr(options, name) for name in SHAPING}
    words = ["dynopt"]
    for name, value in values.items():
        if value and value != getattr(Options(), name):
            words += [flag(name), as_typed(value)]
    return shlex.join(words)
