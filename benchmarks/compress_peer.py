"""llm-compressor's conversion of a checkpoint: `compress_peer.py SCHEME SOURCE OUT WORKERS`; without: imports only."""

import sys

import peers  # noqa: F401
from llmcompressor import model_free_ptq

if __name__ == "__main__" and len(sys.argv) > 1:
    scheme, source, out, workers = sys.argv[1:]
    model_free_ptq(source, out, scheme=scheme, ignore=["lm_head"], max_workers=int(workers), device="cpu")
