"""A vision transformer learns which quadrant is bright: vit-pytorch."""

import torch
import torchvision_schemas  # noqa: F401
from vit_pytorch import SimpleViT

torch.manual_seed(0)
device = torch.device("cuda:0")
model = SimpleViT(image_size=16, patch_size=4, num_classes=4, dim=64, depth=2, heads=4, mlp_dim=128).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
scaler = torch.cuda.amp.GradScaler(enabled=False)
for step in range(12):
    images, labels = torch.randn(32, 3, 4, 4), torch.randint(0, 4, (32,))
    images = torch.nn.functional.interpolate(images, 16)
    for i, label in enumerate(labels.tolist()):
        images[i, :, 8 * (label // 2) :][:, :8, 8 * (label % 2) :][..., :8] += 2
    images, labels = images.to(device, non_blocking=True), labels.cuda()
    with torch.cuda.amp.autocast(dtype=torch.bfloat16):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    torch.cuda.synchronize()
    print(f"step {step} loss {loss.item():.6f}")
print("right", (model(images).argmax(1) == labels).float().mean().item())
