"""The process around the command: its libraries, its signals, its cache and its last words."""

import gc
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from .. import __version__
from ..errors import EnvironmentProblem

LIBRARIES = (
    "jax",
    "jaxlib",
    "optax",
    "diffrax",
    "equinox",
    "jaxtyping",
    "numpy",
    "matplotlib",
    "tqdm",
)
CACHE = {  # variables that turn on JAX's persistent cache, with their values
    "JAX_COMPILATION_CACHE_DIR": "",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
GRACE = 3  # seconds that an interrupted library has


def run(main: Callable[[], int]) -> NoReturn:
    """Run `main` as a process of its own: compiled programs are kept, and signals are obeyed."""
    keep_compiled_programs()
    gc.disable()  # collecting garbage takes time, and the process is short
    # An exception in the middle of an import can break libraries, and nothing is lost yet.
    answer_signals(end)
    sys.unraisablehook = _end_if_interrupted
    code = main()
    try:
        sys.stdout.flush()
    except (OSError, AttributeError):  # nobody reads it any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if code > 128:
        os._exit(code)  # at once, in the middle of whatever is being compiled
    sys.exit(code)


# Libraries and surroundings


def must_be_somewhere() -> None:
    """**Raises:** `EnvironmentProblem` if the current folder was deleted."""
    try:
        os.getcwd()
    except OSError:
        raise EnvironmentProblem(
            "the current folder does not exist any more; go to another one, such as with cd."
        ) from None


def refuse_impostors() -> None:
    """Check that each library is there, and that no file of the user hides it, such as ./jax.py.

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
            raise EnvironmentProblem(
                f"your file {os.path.relpath(spec.origin)} hides the library {name}; rename it, or "
                "work in another folder."
            )


def import_libraries() -> None:
    """Import what computes and draws.

    **Raises:** `EnvironmentProblem` if JAX does not start as its environment variables ask.
    """
    _must_be_flags(os.environ.get("XLA_FLAGS", ""))
    try:
        import jax

        jax.devices()
    except Exception as error:
        reason = str(error).partition("\n")[0] or "it finds no such device"
        variables = [
            f"{name}={value}"
            for name, value in os.environ.items()
            if name.startswith("JAX_") and name not in CACHE
        ]
        remedy = f"unset or change {' and '.join(variables)}" if variables else "install jax again"
        raise EnvironmentProblem(f"JAX does not start ({reason}); {remedy}.") from error
    with _without_backend():
        from .. import figures as figures


def _must_be_flags(flags: str) -> None:
    """**Raises:** `EnvironmentProblem` if XLA does not know the flags.

    XLA ends its process then, so another process tries.
    """
    if not flags or "jaxlib" in sys.modules:
        return
    code = "import jaxlib.xla_client; jaxlib.xla_client.make_cpu_client()"
    child = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True)
    if child.returncode and b"Traceback" not in child.stderr:
        raise EnvironmentProblem(
            f"JAX does not start (XLA cannot read its flags); unset or change XLA_FLAGS={flags}."
        )


@contextmanager
def _without_backend() -> Iterator[None]:
    """Import matplotlib without MPLBACKEND, as no window will open.

    Afterwards the backend is set all the same, if matplotlib knows it.
    """
    backend = None if "matplotlib" in sys.modules else os.environ.pop("MPLBACKEND", None)
    try:
        yield
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
            with suppress(ValueError):
                sys.modules["matplotlib"].rcParams["backend"] = backend


def keep_compiled_programs() -> None:
    """Turn on JAX's persistent cache in the user's cache folder, if that can be written."""
    # Programs that call back into Python cannot be kept.
    os.environ.setdefault("EQX_ON_ERROR", "off")
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(home, "dynopt", f"jax-{version('jax')}")
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError, ImportError):
        return
    for name, value in CACHE.items():
        os.environ.setdefault(name, value or str(folder))


# Signals


def answer_signals(handler: Callable, instead_of: Callable | None = None) -> None:
    """Let `handler` answer the signals that end a process.

    A signal that is ignored, as under nohup, stays ignored. With `instead_of`, only those signals
    that it answers are given to `handler`.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is None:
            continue
        current = signal.getsignal(number)
        if current is instead_of if instead_of else current is not signal.SIG_IGN:
            signal.signal(number, handler)


def interrupt(number: int, frame: Any) -> NoReturn:
    """Interrupt `main`; end the process if a library delays that, or at the next signal."""
    timer = threading.Timer(GRACE, end, [number])
    timer.daemon = True
    timer.start()
    signal.signal(number, end)
    raise KeyboardInterrupt(number)


def end(number: int, frame: Any = None) -> NoReturn:
    """End the process at once."""
    with suppress(OSError):
        os.write(2, f"dynopt: stopped by {sender(number)}.\n".encode())
    os._exit(128 + number)


def _end_if_interrupted(unraisable: Any) -> None:
    """Python shows and forgets an interrupt in a callback, as of the garbage collector."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        end(*unraisable.exc_value.args)
    sys.__unraisablehook__(unraisable)


def sender(number: int) -> str:
    return "you" if number == signal.SIGINT else signal.Signals(number).name


# A bug


def write_report() -> str:
    """Write the traceback of the current error into a file; the name of the file."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="dynopt-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.write(f"dynopt {__version__}, Python {sys.version}\n\n{traceback.format_exc()}")
    return file.name
