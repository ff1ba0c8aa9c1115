"""What only a process of its own shows: its imports, streams, signals and environment."""

import os
import signal
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from dynopt.compare import process

fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))
ROOT = Path(__file__).parents[2]
# A suite in the background ignores SIGINT, and hands that on to its children.
LISTENING = """import signal, time
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, name), signal.SIG_DFL)
from dynopt.compare import process
"""
COMMAND = f"{LISTENING}from dynopt.compare import run\nprint('go', flush=True)\nrun()"
# The state in which all libraries are imported.
AWAKE = "process.answer_signals(process.interrupt, instead_of=process.end)"
TINY = "--problem booth --optimizers sgd --steps 5 --figures loss --format png".split()


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """One cache of compiled programs for all processes of this file."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def command(tmp_path, cache):
    """Start `python -m dynopt.compare`, or other code, in an empty folder."""

    def start(*arguments, code=None, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **variables):
        unset = ("JAX_", "MPL", "PYTEST", "EQX")
        env = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
        env |= {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache), **variables}
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


def ended(child):
    out, err = child.communicate(timeout=120)
    return child.returncode, out, err


@pytest.mark.parametrize("question", ["--help", "--version", "--stpes"])
def test_a_question_is_answered_without_the_libraries(command, question):
    libraries = {"jax", "numpy", "matplotlib", "diffrax", "optax", "equinox", "tqdm"}
    code = "import sys; from dynopt.compare import main; main(); "
    code += f"print({libraries} & set(sys.modules))"
    _, out, _ = ended(command(question, code=code))
    assert out.splitlines()[-1] == "set()"


def test_help_in_letters_that_the_stream_has(command):
    code, out, err = ended(command("--help", PYTHONIOENCODING="ascii", NO_COLOR="1"))
    assert (code, err) == (0, "") and "--problem NAME,NAME" in out and "\x1b" not in out


def test_the_module_and_the_installed_command_answer_alike(command):
    """`dynopt` calls the function that pyproject.toml names."""
    code = "import sys; from dynopt.compare import run; sys.exit(run())"
    assert ended(command("--version")) == ended(command("--version", code=code))
    assert ended(command("--stpes")) == ended(command("--stpes", code=code))


def test_poor_surroundings_change_nothing_and_compiled_programs_are_found_again(
    command, cache, tmp_path
):
    """A backend that does not exist and a stream without ±; then plain surroundings."""
    code, out, err = ended(command(*TINY, MPLBACKEND="garbage", PYTHONIOENCODING="ascii"))
    assert (code, err) == (0, "") and out.splitlines()[3] == "figures/loss-booth.png"
    programs = compiled(cache)
    assert len(programs) > 3
    code, out, err = ended(command(*TINY))
    assert (code, err) == (0, "")
    assert out.splitlines()[3] == "figures/loss-booth.png (unchanged)"
    assert compiled(cache) == programs


def compiled(cache):
    return {path.name for path in cache.glob("dynopt/jax-*/*-cache")}


def test_without_a_cache_folder_nothing_is_kept(monkeypatch):
    for name in (*process.CACHE, "EQX_ON_ERROR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    process.keep_compiled_programs()
    assert not any(name in os.environ for name in process.CACHE)


@pytest.mark.parametrize(
    "variable", ["JAX_PLATFORMS=bogus", "JAX_PLATFORMS=cuda", "JAX_ENABLE_X64=maybe"]
)
def test_a_device_that_is_not_there(command, variable):
    name, value = variable.split("=")
    code, out, err = ended(command(*TINY, **{name: value}))
    assert (code, out) == (5, "")
    assert err.startswith("dynopt: JAX does not start (")
    assert err.endswith(f"unset or change {variable}.\n")


@pytest.mark.parametrize("flags", ["--xla_bogus=1", "no_such_file"])
def test_flags_that_xla_does_not_know(command, flags):
    """XLA would end the process in the middle of C++."""
    sentence = "dynopt: JAX does not start (XLA cannot read its flags); unset or change "
    assert ended(command(*TINY, XLA_FLAGS=flags)) == (5, "", f"{sentence}XLA_FLAGS={flags}.\n")


@pytest.mark.parametrize("name", ["jax.py", "optax/__init__.py", "tqdm.py"])
def test_a_file_that_hides_a_library(command, tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("")
    library = name.split("/")[0].removesuffix(".py")
    remedy = "rename it, or work in another folder"
    sentence = f"dynopt: your file {name} hides the library {library}; {remedy}.\n"
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    assert ended(command(*TINY, PYTHONPATH=path)) == (5, "", sentence)


def test_files_with_the_names_of_modules_hide_none_and_a_problem_beside_them_is_found(
    command, tmp_path
):
    for name in ("copy", "json", "random", "shlex", "jax", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise AssertionError('the wrong file was imported')")
    (tmp_path / "mine.py").write_text("import random\ndef loss(x): return (x**2).sum()")
    typed = "--problem mine:loss --x0 1,2 --optimizers sgd --figures loss --show-code"
    code, out, err = ended(command(*typed.split()))
    assert (code, err) == (0, "") and "problem = Problem(mine.loss, [1.0, 2.0])" in out


def test_a_folder_that_was_deleted(command, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    deleting = f"import os; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r}); "
    code = f"{deleting}from dynopt.compare import run; run()"
    sentence = "the current folder does not exist any more; go to another one, such as with cd"
    assert ended(command("--list", code=code)) == (5, "", f"dynopt: {sentence}.\n")


def test_a_reader_who_hangs_up(command, tmp_path):
    with command(*TINY) as child:
        child.stdout.close()
        assert child.wait(120) == 141 and child.stderr.read() == ""
    assert (tmp_path / "figures/loss-booth.png").exists()


def test_a_full_disk_behind_stdout(command):
    with open("/dev/full", "w") as full:
        code, _, err = ended(command("--list", stdout=full))
    assert code == 4
    assert err == "dynopt: cannot print: No space left on device; but the files are written.\n"


@pytest.mark.parametrize("name, code, says", [("SIGTERM", 143, "SIGTERM"), ("SIGINT", 130, "you")])
def test_a_signal_ends_it_at_once(command, name, code, says):
    with command("--figures", "loss", code=COMMAND) as child:
        send_in_the_middle(child, getattr(signal, name), after=2)
        asked = time.monotonic()
        assert child.wait(60) == code
        assert time.monotonic() - asked < 5
        assert child.stderr.read().startswith(f"dynopt: stopped by {says}")


def test_a_signal_that_is_ignored_stays_ignored(command):
    """As under nohup."""
    ignoring = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
    asked = "signal.getsignal(signal.SIGINT) is signal.SIG_IGN"
    code = f"{LISTENING}{ignoring}\nprocess.run(lambda: print({asked}) or 0)"
    assert ended(command(code=code)) == (0, "True\n", "")


def send_in_the_middle(child, number, after=0.2):
    """Send a signal to a process, so many seconds after it has said "go"."""
    assert child.stdout.readline() == "go\n"
    time.sleep(after)
    child.send_signal(number)


def test_a_signal_while_libraries_are_imported_ends_it_before_they_can_break(command):
    """An exception in the middle of an import ends in a segmentation fault, or in bad advice."""
    importing = (
        "def importing():\n"
        "  try: print('go', flush=True); time.sleep(20)\n"
        "  finally: print('raised')\n"
        "process.import_libraries = importing\n"
    )
    with command(code=LISTENING + importing + "from dynopt.compare import run\nrun()") as child:
        send_in_the_middle(child, signal.SIGINT)
        assert child.wait(20) == 130
        assert (child.stdout.read(), child.stderr.read()) == ("", "dynopt: stopped by you.\n")


def test_an_interrupt_in_the_middle_of_a_callback_is_not_lost(command):
    dying = "class Dying:\n  def __del__(self): print('go', flush=True); time.sleep(20)\n"
    code = f"{LISTENING}{dying}process.run(lambda: {AWAKE} or Dying() and 0)"
    with command(code=code) as child:
        send_in_the_middle(child, signal.SIGTERM)
        asked = time.monotonic()
        assert child.wait(20) == 143 and time.monotonic() - asked < 2
        assert child.stderr.read() == "dynopt: stopped by SIGTERM.\n"


@pytest.mark.parametrize("again", [True, False])
def test_a_library_that_swallows_the_interrupt_cannot_stop_the_end(command, again):
    sleepless = "def sleepless():\n  try: time.sleep(1)\n  except KeyboardInterrupt: pass\n"
    main = f"lambda: {AWAKE} or [None for _ in iter(sleepless, 1)]"
    with command(
        code=f"{LISTENING}{sleepless}print('go', flush=True)\nprocess.run({main})"
    ) as child:
        send_in_the_middle(child, signal.SIGTERM)
        if again:
            time.sleep(0.2)
            child.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        assert child.wait(20) == 143
        assert time.monotonic() - asked < (1 if again else 5)


def test_a_bar_on_a_terminal_only(command):
    """The terminal is one of 24 lines; elsewhere stderr stays empty, as the other tests see."""
    parent, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with command(*TINY, stderr=terminal):
        os.close(terminal)
        shown = b""
        with suppress(OSError):  # a terminal says by an error that nobody writes any more
            while data := os.read(parent, 4096):
                shown += data
    os.close(parent)
    assert b"measuring booth" in shown and b"drawing loss of booth" in shown
    assert b"/2 00:0" in shown
