"""Two steps of a linear layer: sizes that can be counted by hand."""

import torch

device = torch.accelerator.current_accelerator()
layer = torch.nn.Linear(1024, 512, bias=False, device=device)
optimizer = torch.optim.AdamW(layer.parameters())
for _ in range(2):
    layer(torch.ones(256, 1024, device=device)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
