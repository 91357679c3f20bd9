"""What the kernels are held to: the number formats of other packages, and block scales in plain NumPy."""

from dataclasses import dataclass

import en_dtypes
import ml_dtypes
import numpy as np

FLOATS = {  # element: the type of NumPy, ml_dtypes or en_dtypes
    "f32": np.float32,
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "e4m3fn": ml_dtypes.float8_e4m3fn,
    "e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "e5m2": ml_dtypes.float8_e5m2,
    "e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "e8m0": ml_dtypes.float8_e8m0fnu,
    "e2m1": ml_dtypes.float4_e2m1fn,
    "e3m2": ml_dtypes.float6_e3m2fn,
    "e2m3": ml_dtypes.float6_e2m3fn,
    "hif8": en_dtypes.hifloat8,
}
INTEGERS = {"int8": 127, "int4": 7}  # element: largest
ELEMENTS = (*FLOATS, *INTEGERS)
PACKED = ("e2m1", "int4")
LARGEST = {
    **{
        "f16": 65504,
        "e4m3fn": 448,
        "e4m3fnuz": 240,
        "e5m2": 57344,
        "e5m2fnuz": 57344,
        "e2m1": 6,
        "e3m2": 28,
        "e2m3": 7.5,
    },
    **{"hif8": 32768, "e8m0": 2.0**127, **INTEGERS},
}
MANTISSA = {"f32": 23, "f16": 10, "bf16": 7, "e4m3fn": 3, "e4m3fnuz": 3, "e5m2": 2, "e5m2fnuz": 2, "e2m1": 1}
MANTISSA |= {"e3m2": 2, "e2m3": 3, "hif8": 3}
NO_NAN = ("e2m1", "e3m2", "e2m3")


@dataclass(frozen=True)
class Quantized:
    codes: bytes
    scales: np.ndarray | None  # fp32
    values: np.ndarray  # what codes and scales stand for


def unpacked(codes: bytes, element: str, rows: int, columns: int) -> np.ndarray:
    """One code an array element."""
    if element not in PACKED:
        width = np.dtype(FLOATS.get(element, np.uint8)).itemsize
        return np.frombuffer(codes, f"u{width}").reshape(rows, columns)
    both = np.frombuffer(codes, np.uint8).reshape(rows, -1)
    return np.stack([both & 15, both >> 4], axis=-1).reshape(rows, -1)[:, :columns]


def packed(codes: np.ndarray, element: str) -> bytes:
    if element not in PACKED:
        return codes.tobytes()
    even = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
    return (even[:, ::2] | even[:, 1::2] << 4).astype(np.uint8).tobytes()


def decode(codes: np.ndarray, element: str) -> np.ndarray:
    """fp32 values of unpacked codes."""
    if element == "int4":
        return ((codes ^ 8).astype(np.float32) - 8).astype(np.float32)
    if element == "int8":
        return codes.view(np.int8).astype(np.float32)
    return codes.view(FLOATS[element]).astype(np.float32)


def encode(x: np.ndarray, element: str) -> np.ndarray:
    """Unpacked codes of fp32 values; they saturate, where ml_dtypes' casts may overflow."""
    if element in INTEGERS:
        top = np.float32(INTEGERS[element])
        whole = np.where(np.isnan(x), 0, np.clip(np.rint(x), -top, top)).astype(np.int8)
        return whole.view(np.uint8) & (15 if element == "int4" else 255)
    if element == "e8m0":  # the sign is dropped; 0 becomes the smallest, as PyTorch's cast does
        x = np.maximum(np.abs(x), np.float32(2.0**-127))
        x = np.where(np.isposinf(x), np.float32(np.nan), x)
    elif element not in ("f32", "bf16"):
        top = np.float32(LARGEST[element])
        x = np.where(np.isnan(x), np.float32(0) if element in NO_NAN else x, np.clip(x, -top, top))
    kind = FLOATS[element]
    return x.astype(kind).view(f"u{np.dtype(kind).itemsize}")


def exponent_bytes(amax: np.ndarray, element: str, rule: str) -> np.ndarray:
    """Power-of-two scales of blocks, as exponents with bias 127."""
    top = np.float32(LARGEST[element])
    if rule == "ceil":
        least = (np.maximum(amax, np.float32(1e-4)) / top).view(np.uint32)
        return np.clip((least >> 23) + ((least & 0x7FFFFF) != 0), 1, 254).astype(np.int32)
    if rule == "nearest":
        return np.minimum(encode(amax / top, "e8m0"), 254).astype(np.int32)
    bits = amax.view(np.uint32) + (1 << (22 - MANTISSA[element]) if rule == "even" else 0)
    return np.clip((bits >> 23).astype(np.int32) - int(np.floor(np.log2(top))), 0, 254)


def scales_of(amax: np.ndarray, element: str, kind: str, rule: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Of blocks: the scales, and for powers of two what to multiply by."""
    if kind == "pow2":
        power = exponent_bytes(amax, element, rule) - 127
        return np.ldexp(np.float32(1), power), np.ldexp(np.float32(1), -power)
    if element in INTEGERS:
        scales = np.where(amax == 0, np.float32(1), amax / np.float32(LARGEST[element]))
    else:
        scales = np.maximum(amax, np.float32(1e-4)) / np.float32(15 if element == "hif8" else LARGEST[element])
    return (scales.astype(ml_dtypes.bfloat16).astype(np.float32) if kind == "bf16" else scales), None


def grid(shape: tuple[int, int], block: tuple[int, int]) -> tuple[int, int]:
    """How many blocks down and across."""
    return tuple(-(-size // (edge or size)) for size, edge in zip(shape, block, strict=True))


def spread(scales: np.ndarray, shape: tuple[int, int], block: tuple[int, int]) -> np.ndarray:
    """The scale of every element."""
    for axis in range(2):
        scales = np.repeat(scales, block[axis] or shape[axis], axis)
    return scales[: shape[0], : shape[1]]


def quantize(x: np.ndarray, element: str, block: tuple[int, int], kind: str | None, rule: str) -> Quantized:
    if kind is None:
        codes = encode(x, element)
        return Quantized(packed(codes, element), None, decode(codes, element))
    amax = np.nan_to_num(np.abs(x), nan=np.finfo(np.float32).max)
    for axis in range(2):
        amax = np.maximum.reduceat(amax, np.arange(0, x.shape[axis], block[axis] or x.shape[axis]), axis)
    scales, inverse = scales_of(amax, element, kind, rule)
    back = spread(scales, x.shape, block)
    codes = encode(x / back if inverse is None else x * spread(inverse, x.shape, block), element)
    return Quantized(packed(codes, element), scales, decode(codes, element) * back)
