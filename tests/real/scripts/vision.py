"""vit-pytorch on a GPU."""

import json
import sys

import torch
import vision_schemas  # noqa: F401
from vit_pytorch import ViT

device = sys.argv[1] if len(sys.argv) > 1 else "cuda"
torch.manual_seed(0)
model = ViT(image_size=16, patch_size=4, num_classes=10, dim=32, depth=2, heads=4, mlp_dim=64).to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, foreach=True)
losses = []
for _ in range(6):
    x, y = torch.randn(8, 3, 16, 16).to(device), torch.randint(0, 10, (8,)).to(device)
    loss = torch.nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(json.dumps({"losses": losses, "device": next(model.parameters()).device.type}))
