"""A one-dimensional diffusion model: denoising-diffusion-pytorch, with mixed precision and samples at the end."""

import torch
import torchvision_schemas  # noqa: F401
from denoising_diffusion_pytorch import GaussianDiffusion1D, Unet1D

torch.manual_seed(0)
model = Unet1D(dim=16, dim_mults=(1, 2), channels=3)
diffusion = GaussianDiffusion1D(model, seq_length=32, timesteps=20, sampling_timesteps=4).cuda()
optimizer = torch.optim.Adam(diffusion.parameters(), lr=1e-3)
for step in range(8):
    signal = torch.sin(torch.linspace(0, 6, 32) + torch.rand(8, 3, 1)).cuda() * 0.5 + 0.5
    loss = diffusion(signal)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(f"step {step} loss {loss.item():.6f}")
print("samples", diffusion.sample(batch_size=2).mean(dim=(1, 2)).tolist())
