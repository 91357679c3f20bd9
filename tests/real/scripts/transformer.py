"""x-transformers, as its examples use it on a GPU: train a decoder, then generate."""

import json
import sys

import torch
from x_transformers import Decoder, TransformerWrapper
from x_transformers.autoregressive_wrapper import AutoregressiveWrapper

device = sys.argv[1] if len(sys.argv) > 1 else "cuda"
torch.manual_seed(0)
layers = Decoder(dim=64, depth=2, heads=4, rotary_pos_emb=True, attn_flash=True)
model = AutoregressiveWrapper(TransformerWrapper(num_tokens=64, max_seq_len=64, attn_layers=layers))
model = model.cuda() if device == "cuda" else model.to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, foreach=True)
losses = []
for _ in range(6):
    ids = torch.randint(0, 64, (4, 33))
    loss = model(ids.cuda() if device == "cuda" else ids.to(device))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.item())
model.eval()
with torch.no_grad():
    written = model.generate(ids[:1, :8].to(device), 8, temperature=0.0)
print(json.dumps({"losses": losses, "tokens": written.flatten().tolist(), "device": written.device.type}))
