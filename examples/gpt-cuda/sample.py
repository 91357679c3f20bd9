"""Complete a sum with the trained model: python sample.py 12+30="""

import sys
from types import SimpleNamespace

import torch

import checkpoint
from data import CHARS
from model import GPT


def main():
    prompt = sys.argv[1] if len(sys.argv) > 1 else "12+30="
    cfg = SimpleNamespace(vocab_size=len(CHARS), block_size=64, n_layer=3, n_head=4, n_embd=64, dropout=0.0)
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    model = GPT(cfg).to(device).eval()
    model.load_state_dict(checkpoint.weights_only("out/ckpt.pt"))
    idx = torch.tensor([[CHARS.index(c) for c in prompt]], device=device)
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=torch.cuda.is_available()):
        out = model.generate(idx, 8)
    print("".join(CHARS[i] for i in out[0].tolist()))


if __name__ == "__main__":
    main()
