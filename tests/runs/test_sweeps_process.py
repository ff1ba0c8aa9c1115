"""Sweeps over devices and processes find what one device finds, and Ctrl-C ends them within a second."""

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
if len(sys.argv) > 2:
    jax.distributed.initialize("localhost:" + sys.argv[3], num_processes=2, process_id=int(sys.argv[2]))
import equinox as eqx, numpy as np
from dynopt import Momentum, chunks, problems, sweep
shares = []
deal = chunks.lanes.dealt
def dealt(mesh, array, lanes):
    found = deal(mesh, array, lanes)
    shares.append([shard.data.shape[0] for shard in found.addressable_shards])
    return found
chunks.lanes.dealt = dealt
starts = np.random.default_rng(0).uniform(-5, 5, (1001, 2))
found = sweep(eqx.filter_vmap(Momentum)(np.geomspace(1e-4, 0.1, 1001)), problems.himmelblau(), 200, x0=starts)
shares = [len(jax.devices()), *map(list, {tuple(share) for share in shares})]
np.savez(sys.argv[1], x=found.x, loss=found.loss, result=found.result, bad=found.first_bad_step, shares=np.hstack(shares))
"""


def start(*given, devices=1, code=SWEEP):
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", code, *map(str, given)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(*processes):
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said


@pytest.fixture(scope="module")
def by_one(tmp_path_factory):
    file = tmp_path_factory.mktemp("one") / "one.npz"
    ended(start(file))
    return np.load(file)


def alike(found, expected):
    np.testing.assert_array_equal(found["result"], expected["result"])
    np.testing.assert_array_equal(found["bad"], expected["bad"])
    fine, ulp = expected["result"] == 0, np.finfo(float).eps
    assert 100 < fine.sum() < 1001
    np.testing.assert_allclose(found["x"][fine], expected["x"][fine], rtol=4 * ulp)
    np.testing.assert_allclose(
        found["loss"][fine], expected["loss"][fine], rtol=4 * ulp, atol=4 * ulp
    )


@pytest.mark.parametrize("devices", [2, 3])
def test_devices_share_the_work_evenly_and_find_the_same(by_one, tmp_path, devices):
    ended(start(tmp_path / "many.npz", devices=devices))
    found = np.load(tmp_path / "many.npz")
    alike(found, by_one)
    seen, *shares = found["shares"]
    assert seen == devices == len(shares) and len(set(shares)) == 1


def test_two_processes_share_the_work_evenly_and_find_the_same(by_one, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    ended(*(start(tmp_path / f"{i}.npz", i, port) for i in range(2)))
    first, second = (np.load(tmp_path / f"{i}.npz") for i in range(2))
    alike(first, by_one)
    alike(second, by_one)
    assert first["shares"].tolist() == second["shares"].tolist() and first["shares"][0] == 2


def test_ctrl_c_ends_a_sweep_within_a_second_and_keeps_what_is_finished():
    code = """
import warnings, time
import jax, numpy as np
from dynopt import SGD, problems, sweep
warnings.simplefilter("ignore")
starts = np.random.default_rng(0).uniform(-5, 5, (1_000_000, 2))
sweep(SGD(0.01), problems.himmelblau(), 9, x0=starts, memory=2**22)
print("go", flush=True)
found = sweep(SGD(0.01), problems.himmelblau(), 40_000, x0=starts, memory=2**22)
print(time.monotonic(), (found.result == 0).sum(), np.isfinite(found.loss).sum(), (found.result == 7).sum(), flush=True)
"""
    with start(code=code) as process:
        assert process.stdout.readline() == "go\n"
        time.sleep(4)
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        answered, done, seen, left = process.stdout.readline().split()
        process.wait(30)
    assert float(answered) - asked < 1
    assert 0 < int(done) <= int(seen) and int(done) + int(left) == 1_000_000 and int(left) > 0
