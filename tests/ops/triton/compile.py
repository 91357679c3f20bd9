"""Compiles kernels for a chip that is not there: python -m tests.ops.triton.compile CHIP BACKEND ARCH WARP SHARE TYPE …

SHARE is '1/3' for the second of every three kernels, '0/1' for all. Prints 'name shared-memory-bytes' for each. Its own
process: in the interpreter's, kernels cannot be compiled.
"""

import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from tests.ops.triton.launches import DTYPES, all_launches
from xinqiao.ops.triton import fit


def main(chip, backend, arch, warp, share, *dtypes):
    first, step = map(int, share.split("/"))
    target = GPUTarget(backend, int(arch) if arch.isdigit() else arch, int(warp))
    for dtype in dtypes:
        with fit.chip(chip):
            launches = list(all_launches(DTYPES[dtype]))
        for name, launch in launches[first::step]:
            source = ASTSource(launch.kernel, launch.signature(), launch.constexprs())
            options = {
                "num_warps": launch.warps,
                "num_stages": launch.stages,
                "enable_fp_fusion": not launch.exact,
            }
            found = triton.compile(source, target=target, options=options)
            print(f"{dtype} {name}\t{found.metadata.shared}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
