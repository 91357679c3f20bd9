"""Constructs of CUDA-bound programs that converters get wrong or pass over in silence, and what must never change.

The constructs are those on which published converters were compared; the code is written for this page.
"""

import pytest

from tests.port.test_rules import after, ported

HEAD = 'ACCELERATOR = (torch.accelerator.current_accelerator() or torch.device("cuda")).type\n'
ASKED = "needs-you"
REWRITTEN = [
    ("torch.cuda.*", "torch.cuda.synchronize()", "torch.accelerator.synchronize()"),
    ("import torch as th", "import torch as th\nth.cuda.synchronize()", "th.accelerator.synchronize()"),
    ("import torch as th", "import torch as th\nth.cuda.empty_cache()", "ACCELERATOR_MODULE.empty_cache()"),
    ("import torch.cuda as tc", "import torch.cuda as tc\ntc.device_count()", "torch.accelerator.device_count()"),
    ("from torch import cuda", "from torch import cuda\ncuda.is_available()", "torch.accelerator.is_available()"),
    ("getattr(torch, 'cuda')", 'getattr(torch, "cuda").synchronize()', "torch.accelerator.synchronize()"),
    (".cuda()", "x.cuda()", "x.to(ACCELERATOR)"),
    ("'cuda'", 'x.to("cuda")', "x.to(ACCELERATOR)"),
    ("'cuda:' + x", 'torch.device("cuda:" + str(i))', 'torch.device(f"{ACCELERATOR}:" + str(i))'),
    ("'cuda:%d' % x", 'torch.device("cuda:%d" % i)', 'torch.device(f"{ACCELERATOR}:%d" % i)'),
    ("'cuda:{}'.format(x)", 'torch.device("cuda:{}".format(i))', 'torch.device(f"{ACCELERATOR}:{{}}".format(i))'),
    ("f'cuda:{x}'", 'torch.device(f"cuda:{i}")', 'torch.device(f"{ACCELERATOR}:{i}")'),
    ("f'cuda' without braces", 'torch.device(f"cuda")', 'torch.device(f"{ACCELERATOR}")'),
    (
        "argparse default",
        'p.add_argument("--device", default="cuda")',
        'p.add_argument("--device", default=ACCELERATOR)',
    ),
    ("map_location as a string", 'torch.load(f, map_location="cuda")', "torch.load(f, map_location=ACCELERATOR)"),
    (
        "map_location as a dictionary",
        'torch.load(f, map_location={"cuda:0": "cuda:1"})',
        'torch.load(f, map_location={"cuda:0": f"{ACCELERATOR}:1", f"{ACCELERATOR}:0": f"{ACCELERATOR}:1"})',
    ),
    (
        "map_location as a function",
        "torch.load(f, map_location=lambda s, _: s.cuda(0))",
        "torch.load(f, map_location=lambda s, _: s.to(device=torch.device(ACCELERATOR, 0)))",
    ),
    (
        "the condition of nccl",
        'import torch.distributed as dist\ndist.init_process_group("nccl" if dist.is_nccl_available() else "gloo")',
        "dist.init_process_group(dist.get_default_backend_for_device(ACCELERATOR) if "
        'dist.is_backend_available(dist.get_default_backend_for_device(ACCELERATOR)) else "gloo")',
    ),
    (
        "AMP",
        "with torch.cuda.amp.autocast(): pass",
        "with torch.amp.autocast(ACCELERATOR, dtype=torch.float16): pass",
    ),
    ("a scaler", "torch.cuda.amp.GradScaler()", "torch.amp.GradScaler(ACCELERATOR)"),
    (
        "is_cuda and device.type",
        'ok = x.is_cuda and x.device.type == "cuda"',
        "ok = (x.device.type == ACCELERATOR) and x.device.type == ACCELERATOR",
    ),
]
# Right in one of these ways: rewritten, left with a reason, or for a person to decide; never passed over.
JUDGED = [
    ("streams", "s = torch.cuda.Stream()", {"rewritten"}),
    ("events", "e = torch.cuda.Event(enable_timing=True)", {"rewritten"}),
    ("CUDAGraph", "g = torch.cuda.CUDAGraph()", {"rewritten", ASKED}),
    ("visible devices", 'import os\nos.environ["CUDA_VISIBLE_DEVICES"] = "0"', {"rewritten", ASKED}),
    ("cudnn.benchmark", "torch.backends.cudnn.benchmark = True", {"safe"}),
    ("TF32", "torch.backends.cuda.matmul.allow_tf32 = True", {"safe", "rewritten"}),
    ("sdp_kernel", "with torch.backends.cuda.sdp_kernel(): pass", {"rewritten", ASKED}),
    ("nvidia-smi", 'import subprocess\nsubprocess.run(["nvidia-smi"])', {"rewritten", ASKED}),
    ("flash_attn", "from flash_attn import flash_attn_func", {"rewritten", ASKED}),
    ("load_inline", "load_inline(name='k', cuda_sources=[src])", {ASKED}),
    ("a typed tensor", "y = x.type(torch.cuda.FloatTensor)", {"rewritten", ASKED}),
    ("a tensor type as default", 'torch.set_default_tensor_type("torch.cuda.FloatTensor")', {"rewritten", ASKED}),
    (".to(0)", "y = x.to(0)", {"rewritten", "safe", ASKED}),
    ("torch.compile's mode", 'f = torch.compile(f, mode="reduce-overhead")', {"safe", ASKED}),
    ("float64", "y = x.to(torch.float64)", {"safe", ASKED, "refused-by-chip"}),
    ("float8", "y = x.to(torch.float8_e4m3fn)", {ASKED, "refused-by-chip"}),
    ("a re-exported module", "from torch.cuda import nvtx\nnvtx.range_push('x')", {"rewritten", ASKED}),
]
NEVER_CHANGED = [
    "class Cfg:\n    def __init__(self, cuda=False): self.cuda = cuda",
    "c = Cfg(cuda=True)",
    'opts = {"cuda": 1}["cuda"]',
    'fish = "barracuda"',
    'class Unit:\n    def to(self, unit): return unit\nkm = Unit().to("km")',
    'p.add_argument("--no-cuda", action="store_true")',
    "# model.cuda() on 'cuda'",
    '"""Moves to cuda with x.cuda()."""',
]


@pytest.mark.parametrize(("code", "expected"), [r[1:] for r in REWRITTEN], ids=[r[0] for r in REWRITTEN])
def test_is_rewritten(code, expected):
    start = "" if code.startswith("import torch as th") else "import torch\n"
    assert expected in after(f"{start}{code}\n").replace(HEAD, "").splitlines()


@pytest.mark.parametrize(("code", "verdicts"), [r[1:] for r in JUDGED], ids=[r[0] for r in JUDGED])
def test_is_never_passed_over(code, verdicts):
    last = len(code.splitlines()) + 1
    found = {o.verdict for o in ported(f"import torch\n{code}\n").occurrences if o.line == last or last == o.end_line}
    assert found & verdicts
    assert found <= verdicts | {"safe"}


@pytest.mark.parametrize("code", NEVER_CHANGED)
def test_is_never_changed(code):
    text = f"import torch\nprint(torch.cuda.is_available())\n{code}\n"
    assert after(text).endswith(f"\n{code}\n")
    assert {o.verdict for o in ported(text).occurrences if o.line > 2} <= {"safe"}
