"""The main job: the CUDA project on a virtual H200 and its port on a virtual 910C compute the same, to the bit."""

import json

import pytest

from tests.examples.programs import EXAMPLES, run
from xinqiao import port as ports
from xinqiao.chips import catalog

ORIGINAL = EXAMPLES / "gpt-cuda"


@pytest.fixture(scope="module")
def ported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("port") / "out"
    ports.port(ORIGINAL, ports.Target(catalog.load("ascend-910c")), folder)
    return folder


def losses(project, chip, folder, *words, ranks=1):
    folder.mkdir()
    run(project / "train.py", "--out-dir", ".", *words, chip=chip, ranks=ranks, folder=folder)
    return json.loads((folder / "losses.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "ranks"),
    [
        (("--optimizer", "default"), 1),
        (("--optimizer", "foreach"), 1),
        (("--optimizer", "fused"), 1),
        (("--dtype", "bfloat16"), 1),
        (("--dtype", "float16"), 1),
        (("--dropout", "0.1"), 1),
        (("--optimizer", "foreach"), 2),
    ],
)
def test_the_port_computes_what_the_original_computes(ported, tmp_path, words, ranks):
    before = losses(ORIGINAL, "nvidia-h200", tmp_path / "before", *words, ranks=ranks)
    after = losses(ported, "ascend-910c", tmp_path / "after", *words, ranks=ranks)
    assert after == before
    assert len(before) == 20
