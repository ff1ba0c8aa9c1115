"""What only a process of its own can show: what it imports, its streams, its signals and its surroundings."""

import os
import signal
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from dynopt.compare import main as compare

fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))
ROOT = Path(__file__).parents[1]
AWAKE = "compare._answer_signals(compare._stop, instead_of=compare._end)"  # as when all libraries are imported
TINY = "--problem booth --optimizers sgd --steps 5 --figures gap --format png".split()


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """One cache of compiled programs for all processes of this file."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def command(tmp_path, cache):
    """Start `python -m dynopt.compare` in an empty folder."""

    def start(
        *arguments, code=None, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **surroundings
    ):
        clean = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("JAX_", "MPL", "PYTEST", "EQX"))
        }
        env = clean | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache), **surroundings}
        how = ["-m", "dynopt.compare"] if code is None else ["-c", code]
        return subprocess.Popen(
            [sys.executable, *how, *arguments],
            cwd=tmp_path,
            env=env,
            text=True,
            stdout=stdout,
            stderr=stderr,
        )

    return start


def ended(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.mark.parametrize("question", ["--help", "--version", "--stpes"])
def test_a_question_is_answered_without_the_libraries(command, question):
    heavy = "('jax', 'numpy', 'matplotlib', 'diffrax', 'optax', 'equinox', 'tqdm')"
    code = f"import sys; from dynopt.compare import main; main(); print([m for m in {heavy} if m in sys.modules])"
    _, out, _ = ended(command(question, code=code))
    assert out.splitlines()[-1] == "[]"


def test_help_in_letters_that_the_stream_has(command):
    code, out, err = ended(command("--help", PYTHONIOENCODING="ascii", NO_COLOR="1"))
    assert (code, err) == (0, "") and "--problem NAME,NAME" in out and "\x1b" not in out


def test_poor_surroundings_change_nothing_and_compiled_programs_are_found_again(
    command, cache, tmp_path
):
    """A backend that does not exist and a stream without ±; then the same command in plain surroundings."""
    code, out, err = ended(command(*TINY, MPLBACKEND="garbage", PYTHONIOENCODING="ascii"))
    assert (code, err) == (0, "") and out.splitlines()[3] == "figures/gap-booth.png"
    kept = programs(cache)
    assert len(kept) > 3
    code, out, err = ended(command(*TINY))
    assert (code, err) == (0, "") and out.splitlines()[3] == "figures/gap-booth.png (unchanged)"
    assert programs(cache) == kept


def programs(cache):
    return {path.name for path in cache.glob("dynopt/jax-*/*-cache")}


def test_without_a_cache_folder_nothing_is_kept(monkeypatch):
    for name in (*compare.CACHE, "EQX_ON_ERROR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    compare._keep_programs()
    assert not any(name in os.environ for name in compare.CACHE)


@pytest.mark.parametrize(
    "surroundings, says",
    [
        ({"JAX_PLATFORMS": "bogus"}, "unset or mend JAX_PLATFORMS=bogus."),
        ({"JAX_PLATFORMS": "cuda"}, "unset or mend JAX_PLATFORMS=cuda."),
        ({"JAX_ENABLE_X64": "maybe"}, "unset or mend JAX_ENABLE_X64=maybe."),
    ],
)
def test_a_device_that_is_not_there(command, surroundings, says):
    code, out, err = ended(command(*TINY, **surroundings))
    assert (
        (code, out) == (5, "")
        and err.startswith("dynopt: JAX does not start (")
        and err.endswith(says + "\n")
    )


@pytest.mark.parametrize("name", ["jax.py", "optax/__init__.py", "tyro.py"])
def test_a_file_that_hides_a_library(command, tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("")
    code, out, err = ended(command(*TINY))
    library = name.split("/")[0].removesuffix(".py")
    assert (code, out) == (5, "")
    assert (
        err
        == f"dynopt: your file {name} hides the library {library}; rename it, or work in another folder.\n"
    )


def test_a_reader_who_hangs_up(command, tmp_path):
    with command(*TINY) as process:
        process.stdout.close()
        assert process.wait(120) == 141 and process.stderr.read() == ""
    assert (tmp_path / "figures/gap-booth.png").exists()


def test_a_full_disk_behind_stdout(command):
    with open("/dev/full", "w") as full:
        code, _, err = ended(command("--list", stdout=full))
    assert (
        code == 4
        and err == "dynopt: cannot print: No space left on device; but the files are written.\n"
    )


@pytest.mark.parametrize("name, code, says", [("SIGTERM", 143, "SIGTERM"), ("SIGINT", 130, "you")])
def test_a_signal_ends_it_at_once(command, name, code, says):
    with command("--figures", "gap") as process:
        time.sleep(2)
        process.send_signal(getattr(signal, name))
        asked = time.monotonic()
        assert process.wait(60) == code
        assert time.monotonic() - asked < 5
        assert process.stderr.read().startswith(f"dynopt: stopped by {says}")


def in_the_middle(process, number):
    """Send a signal to a process that has just said "go"."""
    assert process.stdout.readline() == "go\n"
    time.sleep(0.2)
    process.send_signal(number)


def test_a_signal_while_libraries_are_imported_ends_it_before_they_can_break(command):
    """Raised in the middle of an import, it ended in a segmentation fault, or in advice to install jax again."""
    waking = (
        "def waking():\n  try: print('go', flush=True); time.sleep(20)\n  finally: print('raised')"
    )
    code = f"import time; from dynopt import compare\n{waking}\ncompare._wake_libraries = waking\ncompare.run()"
    with command(code=code) as process:
        in_the_middle(process, signal.SIGINT)
        assert process.wait(20) == 130
        assert (process.stdout.read(), process.stderr.read()) == ("", "dynopt: stopped by you.\n")


def test_an_interrupt_in_the_middle_of_a_callback_is_not_lost(command):
    class_ = "class Dying:\n  def __del__(self): print('go', flush=True); time.sleep(20)"
    code = f"import time; from dynopt import compare\n{class_}\ncompare.main = lambda: {AWAKE} or Dying() and 0\ncompare.run()"
    with command(code=code) as process:
        in_the_middle(process, signal.SIGTERM)
        asked = time.monotonic()
        assert process.wait(20) == 143 and time.monotonic() - asked < 2
        assert process.stderr.read() == "dynopt: stopped by SIGTERM.\n"


@pytest.mark.parametrize("again", [True, False])
def test_a_library_that_swallows_the_interrupt_cannot_stop_the_end(command, again):
    swallow = f"compare.main = lambda: {AWAKE} or [None for _ in iter(sleepless, 1)]"
    sleepless = "def sleepless():\n  try: time.sleep(1)\n  except KeyboardInterrupt: pass"
    code = f"import time; from dynopt import compare\n{sleepless}\n{swallow}\nprint('go', flush=True)\ncompare.run()"
    with command(code=code) as process:
        in_the_middle(process, signal.SIGTERM)
        if again:
            time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        assert process.wait(20) == 143
        assert time.monotonic() - asked < (1 if again else 5)


def test_a_bar_on_a_terminal_only(command):
    """The terminal is one of 24 lines; elsewhere stderr stays empty, as the other tests see."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with command(*TINY, stderr=child):
        os.close(child)
        seen = b""
        with suppress(OSError):  # which is how a terminal says that nobody writes any more
            while data := os.read(parent, 4096):
                seen += data
    os.close(parent)
    assert b"measuring booth" in seen and b"drawing gap of booth" in seen and b"/2 00:0" in seen
