"""Build xinqiao/chips/operators/*.json from the vendors' published lists.

    python tools/operator_tables.py --kernels aten_support.json --pages ascend_api_support.json \
        --native native_functions.yaml --out xinqiao/chips/operators

--kernels  which aten overloads each back end declares a kernel for: {back end: {"source", "licence", "ops"}}
--pages    the vendor's API pages: {"about", "apis": {API: {product: bool, "dtypes": [...]}}}
--native   torchgen/packaged/ATen/native/native_functions.yaml of the same torch, tags.yaml beside it

In-place and out variants fold into the functional overload. A page speaks for an aten operator when it bears
the operator's name, or when APIS below says so; the page of a forward operator speaks for its backward.
"""

import argparse
import json
import re
from pathlib import Path

from torchgen.gen import get_grouped_native_functions, parse_native_yaml
from torchgen.model import DispatchKey, NativeFunction

from xinqiao.chips.names import base, family

DTYPES = {"fp64": "float64", "fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
COLUMNS = ("A2", "A3", "950DT")
PREFIXES = {"linalg_": "torch.linalg.", "special_": "torch.special.", "fft_": "torch.fft."}
FUNCTIONAL = "torch.nn.functional."

# aten operator -> the names under which users call it, where they differ
APIS = {
    "mm": ["matmul", "linear"],
    "addmm": ["linear"],
    "bmm": ["matmul"],
    "baddbmm": ["matmul"],
    "_softmax": ["softmax"],
    "_log_softmax": ["log_softmax"],
    "native_layer_norm": ["layer_norm"],
    "native_batch_norm": ["batch_norm"],
    "_native_batch_norm_legit": ["batch_norm"],
    "native_group_norm": ["group_norm"],
    "native_dropout": ["dropout"],
    "convolution": ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"],
    "nll_loss_forward": ["nll_loss"],
    "nll_loss2d_forward": ["nll_loss"],
    "max_pool2d_with_indices": ["max_pool2d"],
    "max_pool3d_with_indices": ["max_pool3d"],
    "_adaptive_avg_pool2d": ["adaptive_avg_pool2d"],
    "_adaptive_avg_pool3d": ["adaptive_avg_pool3d"],
    "_embedding_bag": ["embedding_bag"],
    "_ctc_loss": ["ctc_loss"],
    "grid_sampler_2d": ["grid_sample"],
    "grid_sampler_3d": ["grid_sample"],
    "_linalg_svd": ["linalg_svd", "svd"],
    "_linalg_eigh": ["linalg_eigh"],
    "_linalg_slogdet": ["linalg_slogdet", "slogdet"],
    "linalg_inv_ex": ["linalg_inv", "inverse"],
    "linalg_cholesky_ex": ["linalg_cholesky", "cholesky"],
    "_cdist_forward": ["cdist"],
    "_prelu_kernel": ["prelu"],
    "_unique2": ["unique"],
    "unique_dim": ["unique"],
    "_index_put_impl": ["index_put"],
    "_fft_c2c": ["fft_fft"],
    "_fft_r2c": ["fft_rfft"],
    "_fft_c2r": ["fft_irfft"],
    "im2col": ["unfold"],
    "col2im": ["fold"],
    "constant_pad_nd": ["pad"],
    "threshold": ["relu"],
}


def api_names(operator: str) -> list[str]:
    """The API pages that may speak for a base operator."""
    forward = re.sub(r"_backward(_data|_input|_weight)?$|_double_backward$", "", operator)
    forward = re.sub(r"^embedding_dense$", "embedding", forward)
    if forward.startswith("upsample_"):
        return [FUNCTIONAL + "interpolate"]
    found = []
    for name in [forward, *APIS.get(forward, [])]:
        for prefix, module in PREFIXES.items():
            if name.startswith(prefix):
                found.append(module + name.removeprefix(prefix))
        found += [f"torch.{name}", FUNCTIONAL + name, f"Tensor.{name}", f"Tensor.{name}_"]
    return found


def page(apis: dict[str, dict], operator: str) -> dict | None:
    """One row: a product is supported where any page says yes; the types are those that any page names."""
    names = [name for name in api_names(operator) if name in apis]
    if not names:
        return None
    types = {DTYPES.get(t, t) for name in names for t in apis[name].get("dtypes", [])}
    return {
        "apis": names,
        "supported": [c for c in COLUMNS if any(apis[n][c] for n in names)],
        "dtypes": sorted(types),
    }


def families(path: Path) -> tuple[dict[str, list[NativeFunction]], set[str]]:
    """Functional overload -> its variants, as torchgen groups them; and the overloads with a CUDA kernel."""
    functions, indices = parse_native_yaml(str(path), str(path.with_name("tags.yaml")))
    found = {}
    for group in get_grouped_native_functions(functions):
        members = [group] if isinstance(group, NativeFunction) else list(group.functions())
        found[family(str(members[0].func.name))] = members
    cuda = indices[DispatchKey.CUDA]
    return dict(sorted(found.items())), {name for name, fs in found.items() if any(map(cuda.has_kernel, fs))}


def is_composed(name: str, members: list[NativeFunction]) -> bool:
    """Whether PyTorch's code for any device is real: no CPU library's, no stub that vendors replace."""
    stub = any(word in name for word in ("overrideable", "mkldnn", "nnpack"))
    return not stub and all(f.has_composite_kernel for f in members)


def split_source(text: str) -> dict[str, str]:
    """'PATH @commit (date, remark)' -> its source and version, the commit cut to seven digits."""
    source, commit, remark = re.fullmatch(r"(.*?) @([0-9a-f]{7})[0-9a-f]* ?(.*)", text).groups()
    return {"source": source, "version": f"{commit} {remark}".strip()}


def write(path: Path, head: dict, sections: dict[str, dict | list]) -> None:
    """JSON with one operator a line, so that a change reads as one."""
    lines = [f'  "{key}": {json.dumps(value, ensure_ascii=False)}' for key, value in head.items()]
    for key, rows in sections.items():
        items = rows.items() if isinstance(rows, dict) else [(None, row) for row in rows]
        opening, closing = "{}" if isinstance(rows, dict) else "[]"
        body = ",\n".join(
            "    " + (f'"{name}": ' if name else "") + json.dumps(row, separators=(",", ":")) for name, row in items
        )
        lines.append(f'  "{key}": {opening}\n{body}\n  {closing}')
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("kernels", "pages", "native", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    declared, pages = json.loads(args.kernels.read_text()), json.loads(args.pages.read_text())
    groups, on_cuda = families(args.native)
    variants = {str(f.func.name): name for name, members in groups.items() for f in members}
    torch = {
        "source": "torchgen/packaged/ATen/native/native_functions.yaml",
        "version": f"torch {declared['about']['torch']}",
        "licence": "BSD-3-Clause",
    }
    for back_end in sorted(set(declared) - {"about"}):
        entry = declared[back_end]
        rows = {variants.get(name, family(name)): op["kernel"] for name, op in entry["ops"].items()}
        head = {"schema": 1, "kernels_from": {**split_source(entry["source"]), "licence": entry["licence"]}}
        sections: dict[str, dict | list] = {"kernels": dict(sorted(rows.items()))}
        if back_end == "ascend":
            about = pages["about"]
            head["pages_from"] = {**split_source(about["source"]), "licence": about["licence"]}
            head["pages_from"]["attribution"] = about["attribution"]
            head["columns"] = list(COLUMNS)
            known = sorted({base(name) for name in [*groups, *rows]})
            sections["pages"] = {name: row for name in known if (row := page(pages["apis"], name))}
        write(args.out / f"{back_end}.json", head, sections)
    cuda = dict.fromkeys(sorted(on_cuda), "kernel")
    write(args.out / "cuda.json", {"schema": 1, "kernels_from": torch}, {"kernels": cuda})
    composed = [name for name, members in groups.items() if is_composed(name, members)]
    odd = {name: functional for name, functional in sorted(variants.items()) if family(name) != functional}
    write(args.out / "torch.json", {"schema": 1, **torch}, {"composed": composed, "variants": odd})


if __name__ == "__main__":
    main()
