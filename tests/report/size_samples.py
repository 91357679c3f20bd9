"""Small answers of `size` to draw, in the form of its JSON."""

RATE = {"value": 100.0, "low": 80.0, "high": 125.0}


def row(**changes):
    fields = {
        "name": "mlp up",
        "part": "mlp",
        "seconds": 2e-3,
        "bound": "memory",
        "level": "curve",
        "flops": 4e11,
        "bytes": 2e9,
        "format": "bf16",
    }
    return {**fields, **changes}


def point(batch, late):
    """A step of `late` ms for `batch` sequences a chip, 20 % off at most."""
    return {
        "batch_per_chip": batch,
        "tpot_ms": {"value": late, "low": late / 1.2, "high": late * 1.2},
        "tokens_per_second_per_chip": {
            "value": batch / late * 1e3,
            "low": batch / late * 1e3 / 1.2,
            "high": batch / late * 1e3 * 1.2,
        },
    }


def answer(**changes):
    fields = {
        "model": "a-model",
        "chip": "a-chip",
        "title": "A",
        "phase": "serve",
        "chips": 8,
        "devices": 8,
        "plan": {"tp": 8, "pp": 1, "dp": 1, "ep": 1, "cp": 1},
        "formats": {
            "weights": "bf16",
            "activations": "",
            "cache": "bf16",
            "attention": "bf16",
            "experts": "",
            "plain": "bf16",
        },
        "software": "a stack",
        "memory": {
            "weights": 30.0 * 2**30,
            "cache": 10.0 * 2**30,
            "total": 40.0 * 2**30,
            "capacity": 64.0 * 2**30,
            "fits": True,
        },
        "batch_per_chip": 32.0,
        "roofs": {"fp32": 1e14, "fp16": 4e14, "bf16": 4e14, "int8": 8e14},
        "bandwidth": 1.6e12,
        "decode_tokens_per_second_per_chip": RATE,
        "serving_tokens_per_second_per_chip": RATE,
        "tpot_ms": {"value": 40.0, "low": 32.0, "high": 50.0},
        "limits": [
            {"resource": "links", "share": 0.2, "ten_percent": 0.02},
            {"resource": "bandwidth", "share": 0.8, "ten_percent": 0.078},
        ],
        "trade": [point(2.0**i, 20 + i) for i in range(6)],
        "by_operator": [
            row(),
            row(name="attention decode", part="attention", bound="cache", seconds=1e-3, flops=1e9, bytes=1e9),
            row(name="all-reduce", part="links", bound="link", seconds=5e-4, flops=0.0, bytes=0.0, format=""),
        ],
        "assumptions": ["KV cache in bf16"],
        "unknown": [],
    }
    return {**fields, **changes}


SPEEDS = ("decode_tokens_per_second_per_chip", "serving_tokens_per_second_per_chip", "tpot_ms", "bandwidth")


def silent(**changes):
    """Of a chip whose bandwidth nobody states: memory, and no speed."""
    nothing = {**dict.fromkeys(SPEEDS), "limits": [], "trade": [], "by_operator": []}
    return answer(**{**nothing, "title": "S", "unknown": ["memory bandwidth of S: not found"], **changes})


def document(*answers):
    return {"schema": 1, "kind": "size", "answers": list(answers)}
