"""A small ResNet with timm's own loader settings, optimizer, schedule and mixup: timm."""

import torchvision_schemas  # noqa: F401  isort: skip
import timm
import torch
from timm.data import Mixup
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV3, NativeScaler, random_seed

random_seed(0)
device = torch.device("cuda")
model = timm.create_model("resnet10t", num_classes=10, in_chans=3).to(device, memory_format=torch.channels_last)
optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-3, weight_decay=0.05)
schedule = CosineLRScheduler(optimizer, t_initial=6)
scaler, average = NativeScaler(), ModelEmaV3(model, decay=0.9)
mixup, criterion = Mixup(mixup_alpha=0.2, num_classes=10), SoftTargetCrossEntropy().cuda()
for step in range(6):
    images, labels = torch.randn(8, 3, 32, 32).cuda(), torch.randint(0, 10, (8,)).cuda()
    images, targets = mixup(images.contiguous(memory_format=torch.channels_last), labels)
    with torch.autocast("cuda", dtype=torch.float16, enabled=False):
        loss = criterion(model(images), targets)
    optimizer.zero_grad()
    scaler(loss, optimizer, clip_grad=1.0, parameters=model.parameters())
    average.update(model)
    schedule.step(step + 1)
    torch.cuda.synchronize()
    print(f"step {step} loss {loss.item():.6f} rate {optimizer.param_groups[0]['lr']:.6f}")
