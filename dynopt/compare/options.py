"""What may be typed: the options of `python -m dynopt.compare`, how each is read, and what is refused."""

import difflib
import math
import os
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import tyro

from ..errors import InvalidValue, UnknownName, unknown_name

Settings = dict[str, dict[str, float | bool]]

FORMATS = ("png", "svg", "pdf")
STYLES = ("notebook", "paper", "slides")
MOST_STEPS = 100_000  # more dots than any picture can show
DPI = (20, 600)
LARGEST_CONFIG = 2**20  # bytes


# How each value is read. What a reader raises goes on from the name of the option: "`--steps` must be ...".


def number(text: str) -> float:
    """Plain decimal digits; `float` alone would also take nan, inf, 1_000 and the digits of other scripts."""
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text, re.ASCII | re.IGNORECASE):
        raise InvalidValue(f"must be a number, got {shown(text)}; write for example 0.01 or 1e-2.")
    if not math.isfinite(float(text)):
        raise InvalidValue(
            f"must be a number below 1.8e308, got {shown(text)}; write a smaller one."
        )
    return float(text)


def positive(text: str) -> float:
    if number(text) <= 0:
        raise InvalidValue(f"must be positive, got {shown(text)}; write for example 0.01.")
    return float(text)


def step_count(text: str) -> int:
    try:
        whole = 1 <= number(text) <= MOST_STEPS and not float(text) % 1
    except InvalidValue:
        whole = False
    if not whole:
        raise InvalidValue(
            f"must be a whole number from 1 to {MOST_STEPS}, got {shown(text)}; write for example 100 or 1e3."
        )
    return int(float(text))


def resolution(text: str) -> float:
    if not DPI[0] <= number(text) <= DPI[1]:
        raise InvalidValue(
            f"must be from {DPI[0]} to {DPI[1]}, got {shown(text)}; for finer print write --format pdf."
        )
    return float(text)


def point(text: str) -> tuple[float, ...]:
    return tuple(number(part.strip()) for part in text.split(","))


def words(text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(","))
    for part in parts:
        if not part:
            raise InvalidValue(f"must be names with single commas between them, got {shown(text)}.")
        if not part.isprintable():
            raise InvalidValue(
                f"holds a character that cannot be printed, {shown(part)}; write plain letters."
            )
    return parts


def format_names(text: str) -> tuple[str, ...]:
    return tuple(all_known("format", words(text), FORMATS))


def style_name(text: str) -> str:
    return known("style", text, STYLES)


def settings(text: str) -> Settings:
    """`adam.b1=0.8,adam.b2=0.99` is {"adam": {"b1": 0.8, "b2": 0.99}}."""
    found: Settings = {}
    for part in words(text):
        match = re.fullmatch(r"([\w-]+)\.(\w+)\s*=\s*(\S+)", part, re.ASCII)
        if match is None:
            raise InvalidValue(
                f"must be OPTIMIZER.OPTION=NUMBER, got {shown(part)}; write for example adam.b1=0.8."
            )
        optimizer, name, value = plain(match[1]), match[2], match[3].casefold()
        if name in found.setdefault(optimizer, {}):
            raise InvalidValue(f"gives {optimizer}.{name} twice; write it once.")
        found[optimizer][name] = value == "true" if value in ("true", "false") else number(value)
    return found


def path(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise InvalidValue(f"must be a path, got {shown(text)}; write for example figures.")
    return text


def npz(text: str) -> str:
    if not path(text).endswith(".npz"):
        raise InvalidValue(
            f"must be the name of an .npz file, got {shown(text)}; write for example runs.npz."
        )
    return text


# Names


def plain(name: str) -> str:
    """One spelling of a name, whatever its capitals and hyphens."""
    return name.strip().casefold().replace("-", "_")


def known(kind: str, name: str, names: Collection[str]) -> str:
    """The one of `names` that is meant."""
    if plain(name) not in names:
        raise unknown_name(kind, name, names)
    return plain(name)


def all_known(kind: str, some: Iterable[str], names: Collection[str]) -> list[str]:
    """Those of `names` that are meant, each once."""
    return list(dict.fromkeys(known(kind, name, names) for name in some))


def shown(text: str) -> str:
    """What somebody typed, safe for a terminal: short, and with control characters spelt out."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def typed(value: Any) -> str:
    """A value as it would be typed."""
    if isinstance(value, dict):
        return ",".join(
            f"{optimizer}.{name}={typed(v)}"
            for optimizer, own in value.items()
            for name, v in own.items()
        )
    if isinstance(value, list | tuple):
        return ",".join(map(typed, value))
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


# The options


def by(read: Callable[[str], Any], metavar: str) -> Any:
    """How tyro is to read the one text that follows an option."""
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda texts: read(texts[0]),
        is_instance=lambda value: True,
        str_from_instance=lambda value: [typed(value)],
    )


def unless(said: str) -> Any:
    """What `--help` says of leaving the option out."""
    return tyro.conf.arg(help_behavior_hint=f"(default: {said})")


Names = Annotated[tuple[str, ...], by(words, "NAME,NAME")]
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help_behavior_hint="")]


@dataclass(frozen=True)
class Options:
    """Draw optimizers beside their differential equations: dots are the map, a line is the flow.

    Without options: the gallery, four problems in the figures that suit them, into ./figures, and a table for each."""

    # What to minimise: names from --list, or FILE.py:function of your own. The file is imported, which runs its code;
    # the function is a loss f(x), and --x0 says where to start, or it takes nothing and returns a dynopt.Problem.
    # Example: --problem rosenbrock,himmelblau
    problem: Annotated[Names, unless("the gallery")] = ()
    # Which optimizers run, by names from --list. Example: --optimizers sgd,adam
    optimizers: Annotated[Names, unless("sgd,momentum,rmsprop,adam")] = ()
    # One learning rate for all optimizers. Example: --learning-rate 0.01
    learning_rate: Annotated[
        float | None, by(positive, "NUMBER"), unless("one that suits each")
    ] = None
    # Single options of single optimizers. Example: --set adam.b1=0.8,sgd.learning_rate=0.1
    set: Annotated[Settings, by(settings, "OPTIMIZER.OPTION=NUMBER,..."), unless("as in optax")] = (
        field(default_factory=dict)
    )
    # How many steps the map takes; the flow runs as long. Example: --steps 200
    steps: Annotated[
        int | None, by(step_count, "NUMBER"), unless("100; the gallery has its own")
    ] = None
    # Where to start, one number per coordinate. Example: --x0 -1.2,1
    x0: Annotated[
        tuple[float, ...] | None, by(point, "NUMBER,NUMBER"), unless("the problem's own start")
    ] = None
    # Which figures to draw, by names from --list. Example: --figures paths,gap
    figures: Annotated[
        Names, unless("all that fit the problem, except modified, rescaling, basins and sweep")
    ] = ()
    # The folder for the figures, made if it is missing. Example: --output talk
    output: Annotated[str, by(path, "FOLDER")] = "figures"
    # In which formats: png, svg, pdf. Example: --format pdf
    format: Annotated[tuple[str, ...], by(format_names, "NAME,NAME")] = ("png", "svg")
    # Dots per inch of png. Example: --dpi 200
    dpi: Annotated[float | None, by(resolution, "NUMBER"), unless("that of the style")] = None
    # How large all is drawn: notebook, paper or slides. Example: --style slides
    style: Annotated[str, by(style_name, "NAME")] = "notebook"
    # Save every run, map and flow, as arrays in one file. Example: --save runs.npz
    save: Annotated[str | None, by(npz, "FILE.npz"), unless("nothing is saved")] = None
    # Read options from a TOML file, under the names they have here; what is typed wins. Example: --config talk.toml
    config: Annotated[str | None, by(path, "FILE.toml"), unless("none is read")] = None
    # End with exit code 3 if a run diverges; without this, that is a result like any other.
    strict: Flag = False
    # Replace files that dynopt did not draw, too.
    force: Flag = False
    # Print the paths of the written files only, one per line.
    quiet: Flag = False
    # Print Python that draws the same figures, and draw nothing.
    show_code: Flag = False
    # Print the names of all problems, optimizers and figures.
    list: Flag = False
    # With --list: as JSON.
    json: Flag = False
    # Print the version.
    version: Flag = False


FLAGS = tuple(f.name for f in fields(Options) if f.default is False)
READERS: dict[str, Callable[[str], Any]] = {
    name: lambda text, spec=spec: spec.instance_from_str([text])
    for name, hint in get_type_hints(Options, include_extras=True).items()
    for spec in hint.__metadata__
    if isinstance(spec, tyro.constructors.PrimitiveConstructorSpec)
}
ALSO_CALLED = {
    "lr": "learning_rate",
    "optimizer": "optimizers",
    "problems": "problem",
    "figure": "figures",
    "out": "output",
}


def read(argv: Sequence[str]) -> Options:
    """The options that were typed, over those of `--config`.

    **Raises:** `InvalidValue` for what cannot be meant; `SystemExit` when `--help` has been printed.
    """
    if any(word in ("-h", "--help") or word.startswith("--tyro-") for word in argv):
        return _built(argv, Options())
    texts = _split(argv)
    typed_values = {name: _value(name, text, f"{dashed(name)}`") for name, text in texts.items()}
    below = _config(texts["config"]) if "config" in texts else {}
    both = below.get("set", {}), typed_values.get("set", {})
    options = _built(
        [f"{dashed(name)}={text}" if text else dashed(name) for name, text in texts.items()],
        Options(**below),
    )
    merged = {
        optimizer: {**both[0].get(optimizer, {}), **both[1].get(optimizer, {})}
        for optimizer in {**both[0], **both[1]}
    }
    return replace(options, set=merged)


def _built(argv: Sequence[str], default: Options) -> Options:
    look: Any = getattr(tyro, "_experimental_options", {})
    before = dict(look)
    if os.environ.get("NO_COLOR"):
        look["ansi_codes"] = False
    try:
        return tyro.cli(Options, prog="dynopt", args=list(argv), default=default)
    finally:
        look.update(before)


def _split(argv: Sequence[str]) -> dict[str, str]:
    """Which option is followed by which text; flags by none."""
    found: dict[str, str] = {}
    rest = list(argv)
    while rest:
        flag, equals, text = rest.pop(0).partition("=")
        name = flag[2:].replace("-", "_")
        if not flag.startswith("--"):
            raise InvalidValue(
                f"{shown(flag)} belongs to no option; write lists with commas and no spaces, for example --x0 -1.2,1."
            )
        if name not in READERS and name not in FLAGS:
            raise UnknownName(f"no option {shown(flag)}{_near(name, '--')}")
        if name in found:
            raise InvalidValue(f"`{flag}` is given twice; give it once, lists with commas.")
        if name in FLAGS and equals:
            raise InvalidValue(f"`{flag}` takes no value, got {shown(text)}; write {flag} alone.")
        if name in READERS and not equals:
            if not rest or rest[0].startswith("--"):
                raise InvalidValue(f"`{flag}` wants a value after it; --help shows an example.")
            text = rest.pop(0)
        found[name] = text
    return found


def _value(name: str, text: str, where: str) -> Any:
    if name in FLAGS:
        return True
    try:
        return READERS[name](text)
    except UnknownName:
        raise
    except InvalidValue as error:
        raise InvalidValue(f"`{where} {error}") from None


def _config(file: str) -> dict[str, Any]:
    """The options in a TOML file, each read as if it had been typed."""
    try:
        with Path(file).open("rb") as stream:
            text = stream.read(LARGEST_CONFIG + 1)
        if len(text) > LARGEST_CONFIG:
            raise InvalidValue(
                f"{shown(file)} is larger than a megabyte, which no configuration is; name the right file."
            )
        found = tomllib.loads(text.decode("utf-8-sig"))  # some editors begin a file with a mark
    except OSError as error:
        raise InvalidValue(
            f"cannot read {shown(file)}: {error.strerror}; name a TOML file after --config."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidValue(
            f"{shown(file)} is not TOML: {error}; write for example steps = 200."
        ) from error
    values: dict[str, Any] = {}
    for key, value in found.items():
        name = key.replace("-", "_")
        if name == "config":
            raise InvalidValue(
                f"{shown(file)} names another `config`; put all options in one file."
            )
        if name not in READERS and name not in FLAGS:
            raise UnknownName(f"no option {shown(key)} in {shown(file)}{_near(name, '')}")
        if name in values:
            raise InvalidValue(
                f"{shown(file)} gives `{name}` twice, once with - and once with _; give it once."
            )
        if (name in FLAGS) != isinstance(value, bool):
            wanted = "true or false" if name in FLAGS else "a value, not true or false"
            raise InvalidValue(
                f"`{key}` in {shown(file)} must be {wanted}, got {shown(str(value))}."
            )
        if wrong := _misplaced(name, value):
            raise InvalidValue(
                f"{wrong} in {shown(file)} is no option; write for example [set.adam] and below it b1 = 0.8."
            )
        values[name] = (
            value if name in FLAGS else _value(name, _as_typed(value), f"{key}` in {shown(file)}")
        )
    own = [name for name in values.get("problem", ()) if ":" in name]
    if own:
        raise InvalidValue(
            f"{shown(own[0])} would run code that a file names; type it: --problem {own[0]}."
        )
    return values


def _misplaced(name: str, value: Any) -> str:
    """What of a value is a table, or none, against what `name` can be; nothing if all is in its place."""
    if isinstance(value, dict) and (name != "set" or not value):
        return f"the table `{name}`"
    if isinstance(value, list) and any(isinstance(inside, dict) for inside in value):
        return f"the list of tables `{name}`"
    for optimizer, own in value.items() if isinstance(value, dict) else ():
        if not isinstance(own, dict):
            return f"`{name}.{optimizer}`"
        for option, inside in own.items():
            if isinstance(inside, dict | list):
                return f"`{name}.{optimizer}.{option}`"
    return ""


def _as_typed(value: Any) -> str:
    if isinstance(value, dict):  # [set.adam] b1 = 0.8
        return ",".join(
            f"{optimizer}.{name}={_as_typed(v)}"
            for optimizer, own in value.items()
            for name, v in own.items()
        )
    return typed(value)


def _near(name: str, dashes: str) -> str:
    near = (
        [ALSO_CALLED[name]]
        if name in ALSO_CALLED
        else difflib.get_close_matches(name, [f.name for f in fields(Options)], 2)
    )
    guess = (
        f"did you mean {' or '.join(dashes + n.replace('_', '-') for n in near)}? " if near else ""
    )
    return f"; {guess}--help shows them all."


def dashed(name: str) -> str:
    return "--" + name.replace("_", "-")
