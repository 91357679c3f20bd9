"""Whether kernels fit an Ascend core, by the vendor's own compiler: python -m tests.ops.triton.ascend CHIP DTYPE …

Kernels get the tiles that `xinqiao.ops.triton.fit` chooses by the chip's file. Prints 'name verdict' for each: 'fits',
'MEMORY needs N of M bits', or what the compiler said. No device and no CANN is needed: the vendor's code generator,
which is not published, comes after memory is planned. Needs the packages triton-ascend, ascendnpu-ir
and pybind11, in an environment of their own.
"""

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import ascendnpuir
from triton._C.libtriton import ir
from triton.backends.ascend.compiler import make_ttir, ttir_to_linalg
from triton.backends.compiler import GPUTarget
from triton.compiler.compiler import ASTSource, make_backend

from tests.ops.triton.launches import DTYPES, all_launches
from xinqiao.ops.triton import fit

TARGETS = {  # the compiler's name for a chip
    "ascend-910b": "Ascend910B2",
    "ascend-910c": "Ascend910_9392",
    "ascend-950pr": "Ascend950PR_9589",
    "ascend-950dt": "Ascend950DT_9591",
}
LOWERING = Lock()  # Triton's own part, which is quick
COMPILERS = {False: "bishengir-compile", True: "bishengir-compile-a5"}
# As triton-ascend calls it: linalg_to_bin_enable_npu_compile_A2_A3 of its compiler.py.
OPTIONS = ("--enable-hfusion-compile=true", "--enable-hivm-compile=true", "--enable-triton-kernel-compile=true")
MULTIPLE = ("--enable-auto-multi-buffer=true", "--enable-auto-bind-sub-block=true")


def linalg(launch, target, newer):
    """The kernel in the form that the vendor's compiler takes."""
    backend = make_backend(GPUTarget("npu", target, 0))
    options = backend.parse_options({"compile_on_910_95": newer, "enable_fp_fusion": not launch.exact})
    constants = launch.constexprs()
    signature = {k: t for k, t in launch.signature().items() if k not in constants}
    source = ASTSource(launch.kernel, signature, constants)
    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    module = source.make_ir(options, backend.get_codegen_implementation(), backend.get_module_map(), context)
    metadata = {"target": GPUTarget("npu", target, 0), "hash": "none", **options.__dict__}
    return ttir_to_linalg(make_ttir(module, metadata, options), metadata, options, named_ops=True)


def verdict(text, target, newer):
    program = Path(ascendnpuir.__path__[0], "bin", COMPILERS[newer])
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "kernel.mlir")
        source.write_text(text)
        command = [program, source, f"--target={target}", *OPTIONS, *MULTIPLE, "-o", Path(folder, "kernel")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=3600)
    said = done.stdout + done.stderr
    if found := re.search(r"(\w+) overflow, requires (\d+) bits while (\d+) bits? available", said):
        return f"{found[1]} needs {found[2]} of {found[3]} bits"
    wrong = [line for line in said.splitlines() if ": error: " in line and "External hivmc" not in line]
    if not wrong and "Cannot find hivmc" in said:  # the code generator is called: memory was planned
        return "fits"
    return "error: " + (wrong[0] if wrong else said[-200:])


def main(chip, *dtypes):
    target, newer = TARGETS[chip], "950" in chip
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # the newer compiler takes minutes for some kernels
        for dtype in dtypes:
            with fit.chip(chip):
                launches = dict(all_launches(DTYPES[dtype]))
            found = {name: pool.submit(checked, launch, target, newer) for name, launch in launches.items()}
            for name, said in found.items():
                print(f"{dtype} {name}\t{said.result()}", flush=True)


def checked(launch, target, newer):
    try:
        with LOWERING:
            text = linalg(launch, target, newer)
        return verdict(text, target, newer)
    except subprocess.CalledProcessError as error:
        return f"error: {error.stderr.decode()[-300:]}"


if __name__ == "__main__":
    main(*sys.argv[1:])
