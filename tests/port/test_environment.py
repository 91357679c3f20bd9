"""What a port does with environment variables, run: on CUDA nothing changes, elsewhere the vendor's are set too."""

import pytest

from tests.port.test_rules import after

CUDA, VENDOR = "CUDA_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES"
WRITES = [
    'env["CUDA_VISIBLE_DEVICES"] = str(1 + 1)',
    'env.setdefault("CUDA_VISIBLE_DEVICES", "2")',
    'env.update({"HOME": "/", "CUDA_VISIBLE_DEVICES": "2"})',
    'env.update(CUDA_VISIBLE_DEVICES="2")',
    'env = {**env, "CUDA_VISIBLE_DEVICES": "2"}',
]
REMOVES = [
    'env.pop("CUDA_VISIBLE_DEVICES", None)',
    'del env["CUDA_VISIBLE_DEVICES"]',
    'if "CUDA_VISIBLE_DEVICES" in env: del env["CUDA_VISIBLE_DEVICES"]',
]
READS = [
    'got = env["CUDA_VISIBLE_DEVICES"]',
    'got = env.get("CUDA_VISIBLE_DEVICES")',
    'got = env.get("CUDA_VISIBLE_DEVICES", "none")',
    'got = "CUDA_VISIBLE_DEVICES" in env',
    'got = not "CUDA_VISIBLE_DEVICES" not in env and 1 or 2',
    'got = env.pop("CUDA_VISIBLE_DEVICES")',
]


def run(code, env):
    names = {"env": dict(env)}
    exec(code, names)
    return names


@pytest.mark.parametrize("code", WRITES)
def test_what_is_set_is_set_for_both(code):
    env = run(after(code), {})["env"]
    assert env[CUDA] == env[VENDOR] == "2"
    assert {k: v for k, v in env.items() if k != VENDOR} == run(code, {})["env"]


@pytest.mark.parametrize("code", REMOVES)
def test_what_is_removed_is_removed_for_both(code):
    assert run(after(code), {CUDA: "0", VENDOR: "0", "HOME": "/"})["env"] == {"HOME": "/"}
    assert run(after(code), {CUDA: "0"})["env"] == {}


@pytest.mark.parametrize("code", READS)
def test_what_is_read_is_the_vendors_where_it_is_there(code):
    assert run(after(code), {CUDA: "3"})["got"] == run(code, {CUDA: "3"})["got"]
    assert run(after(code), {VENDOR: "3", CUDA: "1"})["got"] == run(code, {CUDA: "3"})["got"]
    assert run(after(code), {VENDOR: "3"})["got"] == run(code, {CUDA: "3"})["got"]
