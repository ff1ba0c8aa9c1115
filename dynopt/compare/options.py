"""What may be typed: the options of the command, how each value is read, and what is refused."""

import argparse
import difflib
import math
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import InvalidValue, UnknownName, unknown_name
from . import gallery

Settings = dict[str, dict[str, float | bool]]

FORMATS = ("png", "svg", "pdf")
STYLES = ("notebook", "paper", "slides")
MAX_STEPS = 100_000  # no picture can show more dots
MIN_DPI, MAX_DPI = 20, 600
MAX_CONFIG_SIZE = 2**20  # bytes


# How each value is read. The sentence of an error continues the name of the option, as in
# "`--steps` must be a whole number".


def number(text: str) -> float:
    """A number in plain decimal digits.

    `float` alone would also take nan, inf, 1_000 and the digits of other scripts.
    """
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text, re.ASCII | re.IGNORECASE):
        raise InvalidValue(f"must be a number, got {quoted(text)}; write for example 0.01 or 1e-2.")
    if not math.isfinite(float(text)):
        raise InvalidValue(
            f"must be a number below 1.8e308, got {quoted(text)}; write a smaller one."
        )
    return float(text)


def positive(text: str) -> float:
    if number(text) <= 0:
        raise InvalidValue(f"must be positive, got {quoted(text)}; write for example 0.01.")
    return float(text)


def step_count(text: str) -> int:
    try:
        is_valid = 1 <= number(text) <= MAX_STEPS and not float(text) % 1
    except InvalidValue:
        is_valid = False
    if not is_valid:
        raise InvalidValue(
            f"must be a whole number from 1 to {MAX_STEPS}, got {quoted(text)}; write for example "
            "100 or 1e3."
        )
    return int(float(text))


def resolution(text: str) -> float:
    if not MIN_DPI <= number(text) <= MAX_DPI:
        raise InvalidValue(
            f"must be from {MIN_DPI} to {MAX_DPI}, got {quoted(text)}; for a finer print write "
            "--format pdf."
        )
    return float(text)


def point(text: str) -> tuple[float, ...]:
    return tuple(number(part.strip()) for part in text.split(","))


def names(text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(","))
    for part in parts:
        if not part:
            raise InvalidValue(
                f"must be names with single commas between them, got {quoted(text)}."
            )
        if not part.isprintable():
            raise InvalidValue(
                f"contains a character that cannot be printed, {quoted(part)}; write plain letters."
            )
    return parts


def format_names(text: str) -> tuple[str, ...]:
    return tuple(find_names("format", names(text), FORMATS))


def style_name(text: str) -> str:
    return find_name("style", text, STYLES)


def settings(text: str) -> Settings:
    """`adam.b1=0.8,adam.b2=0.99` is {"adam": {"b1": 0.8, "b2": 0.99}}."""
    result: Settings = {}
    for part in names(text):
        match = re.fullmatch(r"([\w-]+)\.(\w+)\s*=\s*(\S+)", part, re.ASCII)
        if match is None:
            raise InvalidValue(
                f"must be OPTIMIZER.OPTION=NUMBER, got {quoted(part)}; write for example "
                "adam.b1=0.8."
            )
        optimizer, option_name, value = normalized(match[1]), match[2], match[3].casefold()
        values = result.setdefault(optimizer, {})
        if option_name in values:
            raise InvalidValue(f"gives {optimizer}.{option_name} twice; write it once.")
        values[option_name] = value == "true" if value in ("true", "false") else number(value)
    return result


def path(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise InvalidValue(f"must be a path, got {quoted(text)}; write for example figures.")
    return text


def npz_path(text: str) -> str:
    if not path(text).endswith(".npz"):
        raise InvalidValue(
            f"must be the name of an .npz file, got {quoted(text)}; write for example runs.npz."
        )
    return text


# Names, and values as text


def normalized(name: str) -> str:
    """One spelling of a name, whatever its capitals and hyphens."""
    return name.strip().casefold().replace("-", "_")


def find_name(kind: str, name: str, catalogue: Collection[str]) -> str:
    """The name in the catalogue that `name` spells."""
    if normalized(name) not in catalogue:
        raise unknown_name(kind, name, catalogue)
    return normalized(name)


def find_names(kind: str, spellings: Iterable[str], catalogue: Collection[str]) -> list[str]:
    """The names in the catalogue that are spelt, each once."""
    return list(dict.fromkeys(find_name(kind, name, catalogue) for name in spellings))


def quoted(text: str) -> str:
    """Text from outside, safe for a terminal: short, and with control characters spelt out."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def as_typed(value: Any) -> str:
    """A value in the words in which it would be typed."""
    if isinstance(value, dict):
        return ",".join(_assignments(value))
    if isinstance(value, list | tuple):
        return ",".join(map(as_typed, value))
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _assignments(table: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """{"adam": {"b1": 0.8}} is `adam.b1=0.8`."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _assignments(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}={as_typed(value)}"


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


# The options


def option(read: Callable[[str], Any] | None = None, default: Any = None) -> Any:
    """A field of `Options`: what reads its value, and the default; a flag has no reader."""
    default = False if read is None else default
    return field(default_factory=lambda: default, metadata={"read": read})


@dataclass(frozen=True)
class Options:
    """What was typed, or stands in a configuration; `HELP` says what each option means."""

    problem: tuple[str, ...] = option(names, ())
    optimizers: tuple[str, ...] = option(names, ())
    learning_rate: float | None = option(positive)
    set: Settings = option(settings, {})
    steps: int | None = option(step_count)
    x0: tuple[float, ...] | None = option(point)
    strict: bool = option()
    figures: tuple[str, ...] = option(names, ())
    style: str = option(style_name, "notebook")
    dpi: float | None = option(resolution)
    format: tuple[str, ...] = option(format_names, ("png",))
    output: str = option(path, "figures")
    save: str | None = option(npz_path)
    config: str | None = option(path)
    force: bool = option()
    quiet: bool = option()
    show_code: bool = option()
    list: bool = option()
    json: bool = option()
    version: bool = option()
    help: bool = option()


HELP = f"""\
usage: dynopt [OPTIONS]    (or: python -m dynopt.compare [OPTIONS])

Draw optimizers and their differential equations: dots are the map, a line is
the flow. Without options, draw the gallery into the folder figures: four
problems, each in the figures that suit it, with a table of numbers for each.

What runs
  --problem NAME,NAME
        What is minimised: names from --list, or FILE.py:function for one of
        your own. The file is imported, which runs its code. The function is a
        loss f(x), and --x0 gives the start; or it takes no argument and
        returns a dynopt.Problem.
        Example: --problem rosenbrock,himmelblau (default: the gallery)
  --optimizers NAME,NAME
        Which optimizers run: names from --list.
        Example: --optimizers sgd,adam (default: {",".join(gallery.OPTIMIZERS)})
  --learning-rate NUMBER
        One learning rate for all optimizers.
        Example: --learning-rate 0.01 (default: one that suits each optimizer)
  --set OPTIMIZER.OPTION=NUMBER,...
        Single hyperparameters of single optimizers.
        Example: --set adam.b1=0.8,sgd.learning_rate=0.1 (default: as in optax)
  --steps NUMBER
        How many steps the map takes; the flow runs for the same time.
        Example: --steps 200 (default: {gallery.STEPS}; the gallery has its own)
  --x0 NUMBER,NUMBER
        Where all runs start, one number per coordinate.
        Example: --x0 -1.2,1 (default: the start of the problem)
  --strict
        End with exit code 3 if a run fails. By default a run that fails is a
        result like any other, and the exit code is 0.

What is drawn
  --figures NAME,NAME
        Which figures are drawn: names from --list.
        Example: --figures paths,global_error (default: all that fit the
        problem, except {", ".join(gallery.ON_DEMAND)})
  --style NAME
        How large everything is drawn: notebook, paper or slides.
        Example: --style slides (default: notebook)
  --dpi NUMBER
        The dots per inch of a png.
        Example: --dpi 200 (default: that of the style)
  --format NAME,NAME
        In which formats each figure is written: png, svg, pdf.
        Example: --format png,pdf (default: png)

Files
  --output FOLDER
        The folder for the figures, which is made if it does not exist.
        Example: --output talk (default: figures)
  --save FILE.npz
        Save every run, map and flow, as arrays in one file.
        Example: --save runs.npz (default: nothing is saved)
  --config FILE.toml
        Read options from a TOML file, by the names they have here without the
        dashes. An option on the command line replaces the one in the file.
        Example: --config talk.toml (default: none is read)
  --force
        Replace files even if dynopt did not write them.
  --quiet
        Print only the paths of the written files, one per line.

Information (these options draw nothing)
  --show-code   Print Python that draws the same figures.
  --list        Print the names of all problems, optimizers and figures.
  --json        With --list: print JSON.
  --version     Print the version.
  --help        Print this text."""

READERS: dict[str, Callable[[str], Any] | None] = {
    option.name: option.metadata["read"] for option in fields(Options)
}
SYNONYMS = {
    "lr": "learning_rate",
    "optimizer": "optimizers",
    "problems": "problem",
    "figure": "figures",
    "out": "output",
}


def read(argv: Sequence[str]) -> Options:
    """The options that were typed, and under them those of the file that `--config` names.

    **Raises:** `InvalidValue` for what has no meaning.
    """
    if "-h" in argv or "--help" in argv:
        return Options(help=True)
    typed = _typed(argv)
    configured = _configured(typed["config"]) if "config" in typed else {}
    below, above = configured.get("set", {}), typed.get("set", {})
    both = {name: below.get(name, {}) | above.get(name, {}) for name in below | above}
    values: dict[str, Any] = {**configured, **typed, "set": both}
    return Options(**values)


class _Given(argparse.Action):
    """Read the value of an option, which may be given once."""

    def __call__(self, parser, namespace, values, option_string=None):
        if hasattr(namespace, self.dest):
            raise InvalidValue(
                f"`{option_string}` is given twice; give it once, lists with commas."
            )
        is_flag = self.nargs == 0
        (text,) = values or ["--"]  # argparse drops this word
        value = True if is_flag else _value(self.dest, text, f"`{option_string}`")
        setattr(namespace, self.dest, value)


def _typed(argv: Sequence[str]) -> dict[str, Any]:
    """The values of the options in `argv`."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name, reader in READERS.items():
        nargs, default = 1 if reader else 0, argparse.SUPPRESS
        parser.add_argument(flag(name), dest=name, action=_Given, nargs=nargs, default=default)
    # argparse takes a word such as -1.2,1 for an option unless a space comes first.
    words = [f" {word}" if re.match("-[^-]", word) else word for word in argv]
    try:
        namespace, others = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        name = error.argument_name
        if READERS[normalized(str(name)[2:])]:
            raise InvalidValue(
                f"`{name}` wants a value after it; --help shows an example."
            ) from None
        (text, *_) = (word.partition("=")[2] for word in argv if word.startswith(f"{name}="))
        raise InvalidValue(
            f"`{name}` takes no value, got {quoted(text)}; write {name} alone."
        ) from None
    for word in others:
        if word.startswith("--"):
            raise _unknown_option(word.partition("=")[0], "--")
        raise InvalidValue(
            f"{quoted(word.strip())} belongs to no option; write lists with commas and no spaces, "
            "for example --x0 -1.2,1."
        )
    return vars(namespace)


def _value(name: str, text: str, place: str) -> Any:
    """The value of an option; an error says at which `place` it was given."""
    read = READERS[name]
    assert read is not None
    try:
        return read(text.removeprefix(" ") if text.startswith(" -") else text)
    except UnknownName:
        raise
    except InvalidValue as error:
        raise InvalidValue(f"{place} {error}") from None


def _configured(file: str) -> dict[str, Any]:
    """The options in a TOML file, each read as if it had been typed."""
    where = f"in {quoted(file)}"
    values: dict[str, Any] = {}
    for key, value in _toml(file).items():
        name = key.replace("-", "_")
        if name == "config":
            raise InvalidValue(
                f"{quoted(file)} names another `config`; put all options in one file."
            )
        if name not in READERS:
            raise _unknown_option(key, "", where=f" {where}")
        if name in values:
            raise InvalidValue(
                f"{quoted(file)} gives `{name}` twice, once with - and once with _; give it once."
            )
        is_table = isinstance(value, dict) and name != "set"
        if is_table or isinstance(value, list) and any(isinstance(part, dict) for part in value):
            raise InvalidValue(
                f"`{key}` {where} must be a value, not a table; only `set` is a table, for example "
                "[set.adam] and below it b1 = 0.8."
            )
        if (READERS[name] is None) != isinstance(value, bool):
            allowed = "a value, not true or false" if READERS[name] else "true or false"
            raise InvalidValue(f"`{key}` {where} must be {allowed}, got {quoted(str(value))}.")
        values[name] = (
            value if READERS[name] is None else _value(name, as_typed(value), f"`{key}` {where}")
        )
    for problem in values.get("problem", ()):
        if ":" in problem:
            raise InvalidValue(
                f"{quoted(problem)} would run code that a file names; type it: --problem {problem}."
            )
    return values


def _toml(file: str) -> dict[str, Any]:
    try:
        with Path(file).open("rb") as stream:
            data = stream.read(MAX_CONFIG_SIZE + 1)
        if len(data) <= MAX_CONFIG_SIZE:
            return tomllib.loads(data.decode("utf-8-sig"))  # some editors begin a file with a mark
    except OSError as error:
        raise InvalidValue(
            f"cannot read {quoted(file)}: {error.strerror}; name a TOML file after --config."
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidValue(
            f"{quoted(file)} is not TOML: {error}; write for example steps = 200."
        ) from error
    raise InvalidValue(
        f"{quoted(file)} is larger than a megabyte, which no configuration is; name the right file."
    )


def _unknown_option(name: str, dashes: str, where: str = "") -> UnknownName:
    """The error for an option that does not exist, with those that may be meant."""
    key = normalized(name.removeprefix(dashes))
    near = [SYNONYMS[key]] if key in SYNONYMS else difflib.get_close_matches(key, READERS, 2)
    guess = " or ".join(dashes + option.replace("_", "-") for option in near)
    question = f"did you mean {guess}? " if near else ""
    return UnknownName(f"no option {quoted(name)}{where}; {question}--help shows them all.")
