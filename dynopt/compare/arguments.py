"""The arguments of the command as options: what was typed, above what a TOML file holds."""

import argparse
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InvalidValue
from .options import READERS, Options, flag, unknown_option, value_of
from .values import as_typed, normalized, quoted

MAX_CONFIG_SIZE = 2**20  # bytes


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
        value = True if is_flag else value_of(self.dest, text, f"`{option_string}`")
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
        if re.match(r"--|-[^\W\d]", word.strip()):
            raise unknown_option(word.strip().partition("=")[0], "--")
        raise InvalidValue(
            f"{quoted(word.strip())} belongs to no option; write lists with commas and no spaces, "
            "for example --x0 -1.2,1."
        )
    return vars(namespace)


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
            raise unknown_option(key, "", where=f" {where}")
        if name in values:
            raise InvalidValue(
                f"{quoted(file)} gives `{name}` twice, once with - and once with _; give it once."
            )
        values[name] = _configured_value(name, value, f"`{key}` {where}")
    for problem in values.get("problem", ()):
        if ":" in problem:
            raise InvalidValue(
                f"{quoted(problem)} would run code that a file names; type it: --problem {problem}."
            )
    return values


def _configured_value(name: str, value: Any, place: str) -> Any:
    """The value of an option in a TOML file, which is read from the text that one would type."""
    if READERS[name] is None:
        if not isinstance(value, bool):
            raise InvalidValue(
                f"{place} must be true or false, got {quoted(as_typed(value))}; write "
                f"{name} = true."
            )
        return value
    if isinstance(value, bool):
        raise InvalidValue(f"{place} must be a value, not {as_typed(value)}; --help shows one.")
    is_table = isinstance(value, dict) and name == "set"
    parts = _leaves(value) if is_table else value if isinstance(value, list) else [value]
    if not parts or {} in parts or is_table and [] in parts:
        raise InvalidValue(f"{place} is empty, or a part of it is; fill it, or leave it out.")
    if any(isinstance(part, dict) for part in parts):
        raise InvalidValue(
            f"{place} must be a value, not a table; only `set` is a table, for example "
            "[set.adam] and below it b1 = 0.8."
        )
    if any(isinstance(part, list) for part in parts):
        raise InvalidValue(f"{place} holds a list in a list or in a table; write single values.")
    return value_of(name, as_typed(value), place)


def _leaves(table: dict[str, Any]) -> list[Any]:
    """The values in a table of tables, with tables that are empty."""
    lists = (
        _leaves(value) if value and isinstance(value, dict) else [value] for value in table.values()
    )
    return [leaf for leaves in lists for leaf in leaves]


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
    except UnicodeDecodeError as error:
        raise InvalidValue(
            f"{quoted(file)} is not TOML, as it is not in UTF-8; save it in that encoding."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidValue(
            f"{quoted(file)} is not TOML: {error}; write for example steps = 200."
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidValue(
            f"{quoted(file)} holds a number of thousands of digits or lists without end; write "
            "for example steps = 200."
        ) from error
    raise InvalidValue(
        f"{quoted(file)} is larger than a megabyte, which no configuration is; name the right file."
    )
