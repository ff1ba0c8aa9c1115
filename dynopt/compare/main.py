"""The command line: arguments in, files out. It alone prints, parses and saves.

    python -m dynopt.compare --problem rosenbrock --optimizers sgd,adam --figures paths

`--help` lists the options. Results go to stdout, everything else to stderr.

| exit code | says                                                                 |
|-----------|----------------------------------------------------------------------|
| 0         | everything asked for is there                                        |
| 1         | a bug in dynopt; its traceback is in a file, which is named          |
| 2         | an option, a configuration or a problem that cannot be used          |
| 3         | with `--strict`: some run failed (and everything has been written)   |
| 4         | a file that cannot be written                                        |
| 5         | something is missing on this machine, or hidden                      |
| 130, 143  | stopped by Ctrl-C or by SIGTERM; finished files stay                 |
"""

import gc
import importlib.util
import os
import shlex
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .. import __version__
from ..errors import DynoptError, EnvironmentProblem, InvalidValue, OutputError
from .screen import Screen, listing, table

if TYPE_CHECKING:  # whatever needs JAX is imported when it is wanted, and known to be there
    from .options import Options
    from .studies import Result, Study

LIBRARIES = (
    "jax",
    "jaxlib",
    "optax",
    "diffrax",
    "equinox",
    "jaxtyping",
    "numpy",
    "matplotlib",
    "tyro",
    "tqdm",
)
CACHE = (
    "JAX_COMPILATION_CACHE_DIR",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES",
)
WORKERS = min(
    4, os.cpu_count() or 1
)  # optimizers at a time: while XLA compiles one, Python traces the next


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the arguments ask, by default those of this process, and return the exit code.

    Nothing stays behind in this process: no option of JAX or matplotlib, no variable, no path.
    """
    screen = Screen()
    try:
        return screen.verdict(_obey(list(sys.argv[1:] if argv is None else argv), screen))
    except DynoptError as error:
        screen.note(str(error))
        return (
            4
            if isinstance(error, OutputError)
            else 5
            if isinstance(error, EnvironmentProblem)
            else 2
        )
    except SystemExit as done:  # tyro has shown its help
        return done.code if isinstance(done.code, int) else 0
    except KeyboardInterrupt as stop:
        number = stop.args[0] if stop.args else signal.SIGINT
        screen.note(f"stopped by {_who(number)}{screen.progress}.")
        return 128 + number
    except Exception as error:
        screen.note(
            f"a bug in dynopt, {type(error).__name__}; please report it, with its traceback in {_report()}."
        )
        return 1
    finally:
        screen.close()


def _obey(argv: list[str], screen: Screen) -> int:
    _refuse_impostors()
    from .options import read

    options = read(argv)
    screen.quiet = options.quiet
    if options.version:
        screen.say(f"dynopt {__version__}")
        return 0
    if options.json and not options.list:
        raise InvalidValue("`--json` belongs to --list; write --list --json.")
    _wake_libraries()
    _answer_signals(_stop, instead_of=_end)
    if options.list:
        screen.say(listing(options.json))
        return 0

    import jax

    from .script import script
    from .studies import planned

    with jax.enable_x64(True), warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        screen.heard = heard
        studies = planned(options)
        if options.show_code:
            screen.say(
                script(studies, _command(options, problem=options.problem, figures=options.figures))
            )
            return 0
        return _compare(studies, options, screen)


def _compare(studies: "Sequence[Study]", options: "Options", screen: Screen) -> int:
    """Measure, draw, write and tell, one study after the other; the next is measured while one is drawn."""
    from .provenance import bundle, may_write, put
    from .studies import measure

    saved = [Path(options.save)] if options.save else []
    for path in [path for study in studies for path in _paths(study, study.figures)] + saved:
        may_write(path, force=options.force)

    runs = {}
    pool = ThreadPoolExecutor(WORKERS)
    try:
        futures = {
            (study.slug, name): pool.submit(measure, study, name)
            for study in studies
            for name in study.optimizers
        }
        screen.begin(list(futures.values()), sum(len(study.figures) for study in studies))
        for study in studies:
            results = {
                name: screen.wait(futures[study.slug, name], f"measuring {study.slug}")
                for name in study.optimizers
            }
            screen.tell(table(study, results), _draw(study, results, screen))
            for name, result in results.items():
                runs |= {
                    f"{study.slug}.{name}.{run.kind}": run
                    for run in (result.comparison.map, result.comparison.flow)
                }
        for path in saved:
            screen.tell(
                "",
                {path: put(path, bundle(runs, command=_command(options, problem=options.problem)))},
            )
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return 3 if options.strict and any(run.status != 0 for run in runs.values()) else 0


def _draw(study: "Study", results: "Mapping[str, Result]", screen: Screen) -> dict[Path, bool]:
    """Draw every figure of a study into its files; which of these had to be written."""
    from .provenance import put, render
    from .studies import draw

    written = {}
    for figure in study.figures:
        screen.doing(f"drawing {figure} of {study.slug}")
        picture = draw(study, figure, list(results.values()))
        if picture is None:
            screen.note(
                f"no {figure} of {study.problem.name}, as no map and flow lasted long enough to measure an order."
            )
        else:
            facts = {"title": f"{study.problem.name}: {figure}", "dtype": str(study.start.dtype)}
            facts["command"] = _command(study.options, problem=(study.called,), figures=(figure,))
            for path in _paths(study, [figure]):
                written[path] = put(
                    path, render(picture, path.suffix[1:], **facts, dpi=study.options.dpi)
                )
        screen.drawn += 1
    return written


def _paths(study: "Study", figures: Sequence[str]) -> list[Path]:
    folder, formats = Path(study.options.output), study.options.format
    return [folder / f"{figure}-{study.slug}.{kind}" for figure in figures for kind in formats]


def _command(options: "Options", **which: Any) -> str:
    """What to type for certain pictures: `which`, and whatever else was given that shapes them."""
    from .options import Options, dashed, typed

    shaping = ("optimizers", "learning_rate", "set", "steps", "x0", "dpi", "style")
    values = which | {name: getattr(options, name) for name in shaping}
    given = {
        name: typed(value)
        for name, value in values.items()
        if value and value != getattr(Options(), name)
    }
    return shlex.join(
        ["dynopt", *(word for name, text in given.items() for word in (dashed(name), text))]
    )


def _refuse_impostors() -> None:
    """Every library must be there, and be the library: Python would rather import ./jax.py.

    **Raises:** `EnvironmentProblem`.
    """
    for name in LIBRARIES:
        if name in sys.modules:
            continue
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise EnvironmentProblem(
                f"the library {name} is missing; install it with pip install {name}."
            )
        if Path(spec.origin).parent in (Path.cwd(), Path.cwd() / name):
            file = os.path.relpath(spec.origin)
            raise EnvironmentProblem(
                f"your file {file} hides the library {name}; rename it, or work in another folder."
            )


def _wake_libraries() -> None:
    """Import what computes and draws.

    **Raises:** `EnvironmentProblem` if JAX does not start with what its environment variables ask for.
    """
    try:
        import jax

        jax.devices()
    except Exception as error:
        words = str(error).partition("\n")[0] or "it finds no such device"
        asked = [
            f"{name}={os.environ[name]}"
            for name in os.environ
            if name.startswith("JAX_") and name not in CACHE
        ]
        remedy = f"unset or mend {' and '.join(asked)}" if asked else "install jax again"
        raise EnvironmentProblem(f"JAX does not start ({words}); {remedy}.") from error
    with _no_backend():
        from .. import figures as figures


@contextmanager
def _no_backend() -> Iterator[None]:
    """Import matplotlib without MPLBACKEND, as no window will open; afterwards set it, if there is such a one."""
    asked = None if "matplotlib" in sys.modules else os.environ.pop("MPLBACKEND", None)
    try:
        yield
    finally:
        if asked is not None:
            os.environ["MPLBACKEND"] = asked
            with suppress(ValueError):
                sys.modules["matplotlib"].rcParams["backend"] = asked


def _report() -> str:
    """The file that the traceback of the current error has been put in."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="dynopt-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.write(f"dynopt {__version__}, Python {sys.version}\n\n{traceback.format_exc()}")
    return file.name


def run() -> NoReturn:
    """`main` as a process of its own, which keeps compiled programs for the next time and obeys signals."""
    _keep_programs()
    gc.disable()  # looking for garbage costs time, and all ends soon
    _answer_signals(
        _end
    )  # at once: to raise in the middle of an import breaks libraries, and nothing is lost yet
    sys.unraisablehook = _swallowed
    code = main()
    try:
        sys.stdout.flush()
    except (OSError, AttributeError):  # nobody reads it any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if code > 128:
        os._exit(code)  # at once, in the middle of whatever is being compiled
    sys.exit(code)


def _answer_signals(handler: Callable, instead_of: Callable | None = None) -> None:
    """Let `handler` answer signals where they are not ignored, as under nohup, or only where `instead_of` does."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is None:
            continue
        answered = signal.getsignal(number)
        if answered is instead_of if instead_of else answered is not signal.SIG_IGN:
            signal.signal(number, handler)


def _stop(number: int, frame: Any) -> NoReturn:
    """Interrupt `main`; end without it if a library holds that up, or when asked again."""
    end = threading.Timer(3, _end, [number])
    end.daemon = True
    end.start()
    signal.signal(number, _end)
    raise KeyboardInterrupt(number)


def _swallowed(unraisable: Any) -> None:
    """An interrupt in the middle of a callback, as when garbage is collected, would be shown and forgotten."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        _end(*unraisable.exc_value.args)
    sys.__unraisablehook__(unraisable)


def _end(number: int, frame: Any = None) -> NoReturn:
    with suppress(OSError):
        os.write(2, f"dynopt: stopped by {_who(number)}.\n".encode())
    os._exit(128 + number)


def _who(number: int) -> str:
    return "you" if number == signal.SIGINT else signal.Signals(number).name


def _keep_programs() -> None:
    """Turn on JAX's persistent cache, in the user's cache folder; leave it off if that cannot be written."""
    os.environ.setdefault(
        "EQX_ON_ERROR", "off"
    )  # programs that call back into Python cannot be kept
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(home, "dynopt", f"jax-{version('jax')}")
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError, ImportError):
        return
    for name, value in zip(CACHE, (str(folder), "0", "-1"), strict=True):
        os.environ.setdefault(name, value)
