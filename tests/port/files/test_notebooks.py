"""Notebooks: cells are one program, and nothing but the text of code cells changes."""

import ast
import json

import pytest

from xinqiao.chips import catalog
from xinqiao.port.files import port_file
from xinqiao.port.target import Target

HEADER = 'ACCELERATOR = (torch.accelerator.current_accelerator() or torch.device("cuda")).type'
V = "ASCEND_RT_VISIBLE_DEVICES"


def notebook(*sources, language="python", **layout):
    cells = [{"cell_type": "markdown", "metadata": {}, "source": ["# .cuda() on NVIDIA"]}]
    for source in sources:
        output = {"output_type": "stream", "name": "stdout", "text": ["cuda:0\n"]}
        cells.append(
            {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [output], "source": source}
        )
    metadata = {"kernelspec": {"name": "x", "language": language}, "cuda": "cuda"}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, **layout).encode()


def ported(data, style="agnostic", chip="ascend-910c"):
    return port_file("a.ipynb", data, Target(catalog.load(chip), style))


def sources(data):
    cells = json.loads(data)["cells"]
    return ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]


CASES = [  # cells before, cells after
    (["import torch", "x.cuda()"], [f"import torch\n\n{HEADER}", "x.to(ACCELERATOR)"]),
    (["import torch\n", "x.cuda()"], [f"import torch\n\n{HEADER}\n", "x.to(ACCELERATOR)"]),
    (["import torch\nx.cuda()\n"], [f"import torch\n\n{HEADER}\nx.to(ACCELERATOR)\n"]),
    (["x.cuda()"], [f"import torch\n{HEADER}\nx.to(ACCELERATOR)"]),
    (
        ["%%time\nimport torch\nx.cuda()", "%matplotlib inline\ny = (1\n  % 2)"],
        [f"%%time\nimport torch\n\n{HEADER}\nx.to(ACCELERATOR)", "%matplotlib inline\ny = (1\n  % 2)"],
    ),
    (
        ["import torch\n!ls \\\n -l", "é = x.cuda()  # 😀\nprint('é 😀', y.cuda())"],
        [f"import torch\n!ls \\\n -l\n\n{HEADER}", "é = x.to(ACCELERATOR)  # 😀\nprint('é 😀', y.to(ACCELERATOR))"],
    ),
    (["!nvidia-smi"], ["!if command -v nvidia-smi >/dev/null; then nvidia-smi; else npu-smi info; fi"]),
    (["!CUDA_VISIBLE_DEVICES=0 python x.py"], [f"!CUDA_VISIBLE_DEVICES=0 {V}=0 python x.py"]),
    (["%env CUDA_VISIBLE_DEVICES=0\n1"], [f"%env CUDA_VISIBLE_DEVICES=0\n%env {V}=0\n1"]),
    (["%env CUDA_VISIBLE_DEVICES 0,1"], [f"%env CUDA_VISIBLE_DEVICES 0,1\n%env {V}=0,1"]),
    (["%%bash\nexport CUDA_VISIBLE_DEVICES=0"], [f"%%bash\nexport CUDA_VISIBLE_DEVICES=0 {V}=0"]),
]


@pytest.mark.parametrize("before", [c[0] for c in CASES if c[1]], ids=lambda c: c[0][:30])
@pytest.mark.parametrize("as_list", [True, False])
@pytest.mark.parametrize("layout", [{"indent": 1}, {"ensure_ascii": False}])
def test_rewrites(before, as_list, layout):
    expected = next(c[1] for c in CASES if c[0] == before)
    data = notebook(*(s.splitlines(keepends=True) if as_list else s for s in before), **layout)
    result = ported(data)
    assert sources(result.data) == expected
    assert {o.verdict for o in result.occurrences} == {"rewritten"}
    assert all("(cell " in o.reason for o in result.occurrences)
    again = ported(result.data)
    assert again.data is None
    assert "needs-you" not in {o.verdict for o in again.occurrences}


@pytest.mark.parametrize("layout", [{"indent": 1}, {"indent": "\t"}, {}, {"separators": (",", ":")}])
def test_everything_else_stays_byte_for_byte(layout):
    data = notebook(["import torch\n", "x = torch.zeros(\n", "  2).cuda()\n", "print('cuda')"], **layout)
    after = ported(data).data
    changed = json.loads(after)
    changed["cells"][1]["source"] = json.loads(data)["cells"][1]["source"]
    assert changed == json.loads(data)
    begin, end = data.index(b'"source": [' if b'"source": [' in data else b'"source":['), data.rindex(b"print('cuda')")
    assert after.startswith(data[:begin])
    assert after.endswith(data[end:])


def test_an_edit_over_several_strings_keeps_the_text_around_it():
    data = notebook(["import torch\n", "with torch.cuda.amp.autocast(\n", "    enabled=True,\n", "):\n", "    pass"])
    text = sources(ported(data).data)[0]
    ast.parse(text)
    assert "torch.cuda" not in text
    assert text.endswith("):\n    pass")


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("print 'cuda'", "print 'cuda'"),
        ("%%writefile train.py\nx.cuda()", "x.cuda()"),
        ("gpus = !nvidia-smi -L", "nvidia-smi"),
        ("!pip install flash-attn", "flash-attn"),
        ("%pip install flash-attn", "flash-attn"),
        ("%load_ext nvtx", "%load_ext nvtx"),
    ],
)
def test_needs_you(source, line):
    data = notebook(source)
    result = ported(data)
    assert result.data is None
    assert [(o.verdict, o.before) for o in result.occurrences] == [("needs-you", line)]


def test_another_language_is_not_python():
    result = ported(notebook("x = cu(y)\nusing CUDA", language="julia"))
    assert result.data is None
    assert [o.verdict for o in result.occurrences] == ["needs-you"]


def test_positions_are_those_of_the_json_text():
    data = notebook(["import torch\n", "é = x.cuda()"], indent=1, ensure_ascii=False)
    [o] = ported(data).occurrences
    line = data.decode().split("\n")[o.line - 1]
    assert line[o.column - 1 : o.end_column - 1] == "x.cuda()"


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"cells": 1, "x": "cuda"}', '{"cells": [{"source": 3}], "x": "cuda"}', ""]
)
def test_what_is_no_notebook_is_left(text):
    assert ported(text.encode()).data is None


def test_vendor_style():
    data = notebook("import torch", "x.cuda()", "%env CUDA_VISIBLE_DEVICES=0")
    assert sources(ported(data, "vendor").data) == [
        "import torch\n\nimport torch_npu",
        'x.to("npu")',
        f"%env {V}=0",
    ]


def test_a_chip_that_keeps_cuda():
    result = ported(notebook("import torch", "x.cuda()", "!nvidia-smi"), chip="nvidia-h100")
    assert result.data is None
    assert {o.verdict for o in result.occurrences} == {"safe"}
