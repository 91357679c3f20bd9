"""Find the rotation between two images by gradient descent, after augmentation and filters: kornia."""

import kornia
import kornia.augmentation as augment
import torch

torch.manual_seed(0)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
image = kornia.filters.gaussian_blur2d(torch.rand(1, 1, 48, 48), (7, 7), (2.0, 2.0)).to(device)
target = kornia.geometry.transform.rotate(image, torch.tensor([12.0], device=device))
angle = torch.zeros(1, device=device, requires_grad=True)
optimizer = torch.optim.Adam([angle], lr=1.5)
for step in range(12):
    loss = torch.nn.functional.mse_loss(kornia.geometry.transform.rotate(image, angle), target)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(f"step {step} loss {loss.item():.6f} angle {angle.item():.5f}")
flip = augment.AugmentationSequential(augment.RandomHorizontalFlip(p=0.5), augment.ColorJiggle(0.1, 0.1, 0.1, 0.1, p=1))
print("augmented", f"{flip(image.repeat(4, 3, 1, 1)).mean().item():.6f}")
print("edges", f"{kornia.filters.canny(image)[1].mean().item():.6f}")
print("corners", f"{kornia.feature.harris_response(image).abs().mean().item():.6f}")
