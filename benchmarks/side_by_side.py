"""Time several things in turn, so that whatever else the machine does slows all of them alike."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any


def seconds(function: Callable[..., object], *arguments: Any) -> float:
    began = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - began


def in_turn(contest: dict[Any, Callable[[], object]], rounds: int) -> dict[Any, list[float]]:
    """Seconds of each, round by round, after each has run once."""
    for function in contest.values():
        function()
    taken = [{name: seconds(function) for name, function in contest.items()} for _ in range(rounds)]
    return {name: [each[name] for each in taken] for name in contest}


def ratio(times: list[float], floor: list[float]) -> float:
    """The median over rounds of one time by another of the same round."""
    return statistics.median(a / b for a, b in zip(times, floor, strict=True))


def child(*arguments: str, **env: str) -> list[float]:
    """The numbers that a fresh Python prints."""
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, env=os.environ | env, check=True, stdout=subprocess.PIPE, text=True
    )
    return [float(word) for word in done.stdout.split()]
