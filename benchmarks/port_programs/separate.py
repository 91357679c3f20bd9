"""A small hybrid Demucs learns to separate two synthetic sources: demucs."""

import torch
from demucs.apply import apply_model
from demucs.hdemucs import HDemucs

torch.manual_seed(0)
device = "cuda" if torch.cuda.is_available() else "cpu"
model = HDemucs(sources=["low", "high"], channels=8, depth=4, nfft=1024, samplerate=8000, segment=1).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
time = torch.arange(8000) / 8000
for step in range(4):
    pitch = 100 + 50 * torch.rand(2, 1, 1)
    low, high = torch.sin(6.28 * pitch * time), torch.sin(6.28 * 12 * pitch * time)
    sources = torch.stack((low, high), dim=1).expand(2, 2, 2, 8000).cuda()
    loss = torch.nn.functional.l1_loss(model(sources.sum(dim=1)), sources)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(f"step {step} loss {loss.item():.6f}")
model.eval()
parts = apply_model(model, sources.sum(dim=1), shifts=0, overlap=0.25, device=device)
print("separated", [f"{x:.6f}" for x in parts.abs().mean(dim=(0, 2, 3)).tolist()])
