"""Numbers that c10::ScalarType gives to dtypes."""

import torch

_CODES = {
    0: torch.uint8, 1: torch.int8, 2: torch.int16, 3: torch.int32, 4: torch.int64, 5: torch.float16,
    6: torch.float32, 7: torch.float64, 8: torch.complex32, 9: torch.complex64, 10: torch.complex128, 11: torch.bool,
    12: torch.qint8, 13: torch.quint8, 14: torch.qint32, 15: torch.bfloat16, 23: torch.float8_e5m2,
    24: torch.float8_e4m3fn, 25: torch.float8_e5m2fnuz, 26: torch.float8_e4m3fnuz, 27: torch.uint16, 28: torch.uint32,
    29: torch.uint64, 44: torch.float8_e8m0fnu, 45: torch.float4_e2m1fn_x2,
}  # fmt: skip


def name(code: int) -> str:
    """'float32' for 6; 'dtype45' for one that this table does not know."""
    return str(_CODES[code]).removeprefix("torch.") if code in _CODES else f"dtype{code}"


def itemsize(code: int) -> int:
    """Bytes of one element; 1 for the sub-byte types that the table does not know."""
    return _CODES[code].itemsize if code in _CODES else 1
