"""Strings with a CUDA word that no rule knows: each gets a verdict."""

import pytest

from tests.port.test_rules import ported


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ('raise ImportError("block masking needs flash-attn: pip install flash-attn")', "safe"),
        ('assert flash, f"set {key}: flash_attention_3 in the configuration"', "safe"),
        ('if fuser == "nvfuser":\n    pass', "safe"),
        ('INDEX = "https://download.pytorch.org/whl/cu121"', "safe"),
        ('WEIGHTS = dict(url="https://github.com/NVlabs/GCVit/releases/download/v1/gcvit.pth")', None),
        ('WEIGHTS = dict(url="https://api.ngc.nvidia.com/v2/models/nvidia/vgg16.pt")', "safe"),
        ('MODEL = "nvidia/llama-3.1-nemotron-70b-instruct"', "safe"),
        ('KEY = os.environ["NVIDIA_API_KEY"]', "safe"),
        ('names = ["get_cuda_device"]\ndef get_cuda_device(): ...', "safe"),
        ('session = InferenceSession(path, providers=["CUDAExecutionProvider", "CPUExecutionProvider"])', "needs-you"),
        ('run(["cuda-gdb", script])', "needs-you"),
        ('build = "nccl_home"', "needs-you"),
    ],
)
def test_verdict(code, verdict):
    found = ported(f"import os\n{code}\n").occurrences
    assert {o.verdict for o in found} == ({verdict} if verdict else set())


def test_a_provider_is_named():
    (found,) = ported('p = ["CUDAExecutionProvider"]\n').occurrences
    assert "CANNExecutionProvider" in found.reason
