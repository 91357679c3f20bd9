"""denoising-diffusion-pytorch with its own Trainer (accelerate underneath). Arguments: folder, 'flash' or 'plain'."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import vision_schemas  # noqa: F401
from denoising_diffusion_pytorch import GaussianDiffusion, Trainer, Unet
from denoising_diffusion_pytorch import denoising_diffusion_pytorch as package
from PIL import Image

folder, flash = Path(sys.argv[1]), sys.argv[2] == "flash"
images = folder / "images"
images.mkdir(parents=True, exist_ok=True)
pixels = np.random.RandomState(0)
for i in range(100):
    Image.fromarray(pixels.randint(0, 255, (24, 24, 3), dtype=np.uint8)).save(images / f"{i:03d}.png")

package.cpu_count = lambda: 0
np.random.seed(0)
torch.manual_seed(0)
diffusion = GaussianDiffusion(
    Unet(dim=16, dim_mults=(1, 2), flash_attn=flash), image_size=16, timesteps=50, sampling_timesteps=5
)
trainer = Trainer(
    diffusion,
    str(images),
    train_batch_size=8,
    train_lr=1e-3,
    train_num_steps=4,
    gradient_accumulate_every=2,
    amp=False,
    calculate_fid=False,
    save_and_sample_every=2,
    num_samples=4,
    results_folder=str(folder / "results"),
)
losses = []
backward = trainer.accelerator.backward


def follow(loss):
    losses.append(loss.item())
    backward(loss)


trainer.accelerator.backward = follow
trainer.train()
print(json.dumps({"losses": losses, "device": trainer.accelerator.device.type}))
