"""A sweep over devices and processes has the result of one device; Ctrl-C ends it in a second."""

import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

SWEEP = """
import sys
import jax
jax.config.update("jax_enable_x64", True)
file, *distributed = sys.argv[1:]
if distributed:
    process, port = distributed
    jax.distributed.initialize("localhost:" + port, num_processes=2, process_id=int(process))
import numpy as np
from dynopt import Momentum, grid, problems, sweep
from dynopt.runs import lanes

blocks = set()
shard_runs = lanes.shard_runs
def count_blocks(*arguments):
    array = shard_runs(*arguments)
    blocks.add(tuple(shard.data.shape[0] for shard in array.addressable_shards))
    return array
lanes.shard_runs = count_blocks
starts = np.random.default_rng(0).uniform(-5, 5, (1001, 2))
batch = grid(Momentum, learning_rate=np.geomspace(1e-4, 0.1, 1001))
swept = sweep(batch, problems.himmelblau(), 200, x0=starts)
np.savez(
    file, x=swept.x, loss=swept.loss, result=swept.result, first_bad_step=swept.first_bad_step,
    devices=len(jax.devices()), blocks=np.hstack(list(blocks)),
)
"""

INTERRUPTED = """
import signal, time, warnings
import jax, numpy as np
from dynopt import SGD, problems, sweep

# A shell that starts this in the background lets it ignore SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
warnings.simplefilter("ignore")
starts = np.random.default_rng(0).uniform(-5, 5, (1_000_000, 2))
sweep(SGD(0.01), problems.himmelblau(), 9, x0=starts, memory=2**22)
print("go", flush=True)
swept = sweep(SGD(0.01), problems.himmelblau(), 40_000, x0=starts, memory=2**22)
ended = time.monotonic()
finite = np.isfinite(swept.loss).sum()
print(ended, (swept.result == 0).sum(), finite, (swept.result == 7).sum(), flush=True)
"""


def start(code, *arguments, devices=1):
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(*processes):
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


@pytest.fixture(scope="module")
def by_one_device(tmp_path_factory):
    file = tmp_path_factory.mktemp("one") / "one.npz"
    wait_for(start(SWEEP, file))
    return np.load(file)


def assert_same_ends(actual, expected):
    np.testing.assert_array_equal(actual["result"], expected["result"])
    np.testing.assert_array_equal(actual["first_bad_step"], expected["first_bad_step"])
    ok, rtol = expected["result"] == 0, 4 * np.finfo(float).eps
    assert 100 < ok.sum() < 1001
    np.testing.assert_allclose(actual["x"][ok], expected["x"][ok], rtol=rtol)
    np.testing.assert_allclose(actual["loss"][ok], expected["loss"][ok], rtol=rtol, atol=rtol)


@pytest.mark.parametrize("devices", [2, 3])
def test_devices_share_the_work_evenly_and_have_the_same_result(by_one_device, tmp_path, devices):
    wait_for(start(SWEEP, tmp_path / "many.npz", devices=devices))
    swept = np.load(tmp_path / "many.npz")
    assert_same_ends(swept, by_one_device)
    assert swept["devices"] == devices == len(swept["blocks"])
    assert len(set(swept["blocks"])) == 1


def test_two_processes_share_the_work_evenly_and_have_the_same_result(by_one_device, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    wait_for(*(start(SWEEP, tmp_path / f"{i}.npz", i, port) for i in range(2)))
    first, second = (np.load(tmp_path / f"{i}.npz") for i in range(2))
    assert_same_ends(first, by_one_device)
    assert_same_ends(second, by_one_device)
    assert first["blocks"].tolist() == second["blocks"].tolist() and first["devices"] == 2


def test_ctrl_c_ends_a_sweep_within_a_second_and_keeps_what_is_finished():
    with start(INTERRUPTED) as process:
        assert process.stdout.readline() == "go\n"
        time.sleep(4)
        interrupted = time.monotonic()
        process.send_signal(signal.SIGINT)
        ended, done, finite, left = process.stdout.readline().split()
        process.wait(30)
    assert float(ended) - interrupted < 1
    assert 0 < int(done) <= int(finite) and int(done) + int(left) == 1_000_000 and int(left) > 0
