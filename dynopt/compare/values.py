"""How each value is read from text, what is refused, and how a value is written as text again.

The sentence of an error continues the name of the option, as in "`--steps` must be a whole number".
"""

import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from ..errors import InvalidValue, unknown_name

Settings = dict[str, dict[str, float | bool]]

STILL, MOVING, LIVE = ("png", "svg", "pdf"), ("gif", "mp4"), ("html",)  # the first is the default
FORMATS = (*STILL, *MOVING, *LIVE)
OF_FIGURES = {"animation": MOVING, "explorer": LIVE}  # of any other: STILL
STYLES = ("notebook", "paper", "slides")
MAX_STEPS = 100_000  # no picture can show more dots
MIN_DPI, MAX_DPI = 20, 600
LONG = 10_000  # bits: Python refuses to write longer numbers in decimal digits


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


def seed(text: str) -> int:
    try:
        is_valid = 0 <= number(text) < 2**32 and not float(text) % 1
    except InvalidValue:
        is_valid = False
    if not is_valid:
        raise InvalidValue(
            f"must be a whole number from 0 to {2**32 - 1}, got {quoted(text)}; write for example "
            "3."
        )
    return int(float(text))


def resolution(text: str) -> float:
    try:
        is_valid = MIN_DPI <= number(text) <= MAX_DPI
    except InvalidValue:
        is_valid = False
    if not is_valid:
        raise InvalidValue(
            f"must be from {MIN_DPI} to {MAX_DPI}, got {quoted(text)}; for a finer print write "
            "--format pdf."
        )
    return float(text)


def point(text: str) -> tuple[float, ...]:
    try:
        return tuple(number(part.strip()) for part in text.split(","))
    except InvalidValue:
        raise InvalidValue(
            "must be numbers below 1.8e308 with single commas between them, got "
            f"{quoted(text)}; write for example -1.2,1."
        ) from None


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


def formats_of(figure: str, typed: Iterable[str]) -> list[str]:
    """The formats among those typed in which a figure is written; by default one."""
    suitable = OF_FIGURES.get(figure, STILL)
    return [name for name in typed or suitable[:1] if name in suitable]


def must_suit(formats: Sequence[str], figures: Sequence[str]) -> None:
    """**Raises:** `InvalidValue` if a format suits no figure, or a figure none of the formats."""
    for name in formats:
        if not any(name in formats_of(figure, formats) for figure in figures):
            owners = [figure for figure, suitable in OF_FIGURES.items() if name in suitable]
            raise InvalidValue(
                f"`--format` {name} is for an {owners[0]}; add {owners[0]} to --figures."
                if owners
                else f"`--format` {name} is for a still figure; write "
                f"--format {formats_of(figures[0], ())[0]}."
            )
    without = [figure for figure in dict.fromkeys(figures) if not formats_of(figure, formats)]
    if without:
        wanted = dict.fromkeys(name for figure in without for name in formats_of(figure, ()))
        verb = "is" if len(without) == 1 else "are"
        raise InvalidValue(
            f"{' and '.join(f'`{figure}`' for figure in without)} {verb} not written as "
            f"{as_typed(formats)}; write --format {as_typed([*formats, *wanted])}."
        )


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
        try:
            values[option_name] = value == "true" if value in ("true", "false") else number(value)
        except InvalidValue as error:
            raise InvalidValue(f"gives {optimizer}.{option_name} a value that {error}") from None
    return result


def folder(text: str) -> str:
    if not _is_path(text):
        raise InvalidValue(f"must be a path, got {quoted(text)}; write for example figures.")
    return text


def npz_path(text: str) -> str:
    if not _is_path(text) or not text.endswith(".npz"):
        raise InvalidValue(
            f"must be the name of an .npz file, got {quoted(text)}; write for example runs.npz."
        )
    return text


def toml_path(text: str) -> str:
    if not _is_path(text):
        raise InvalidValue(
            f"must be the name of a TOML file, got {quoted(text)}; write for example talk.toml."
        )
    return text


def _is_path(text: str) -> bool:
    return bool(text.strip()) and text.isprintable()


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
    if isinstance(value, int) and value.bit_length() > LONG:
        return hex(value)
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _assignments(table: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """{"adam": {"b1": 0.8}} is `adam.b1=0.8`."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _assignments(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}={as_typed(value)}"
