#!/usr/bin/env bash
# Two cards of this machine.
set -euo pipefail
export CUDA_VISIBLE_DEVICES=0,1
export NCCL_DEBUG=WARN
torchrun --standalone --nproc-per-node 2 train.py --dtype bfloat16 "$@"
