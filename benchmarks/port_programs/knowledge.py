"""Link prediction on the Nations data set, which the package ships: pykeen."""

import torch
import torchvision_schemas  # noqa: F401
from pykeen.pipeline import pipeline

result = pipeline(
    dataset="Nations",
    model="TransE",
    model_kwargs={"embedding_dim": 16},
    training_kwargs={"num_epochs": 3, "batch_size": 256, "use_tqdm": False},
    evaluation_kwargs={"batch_size": 64, "use_tqdm": False},
    random_seed=0,
    device="cuda",
)
print("losses", [round(x, 6) for x in result.losses])
print("hits at 10", round(result.get_metric("hits@10"), 6))
print("on the device", result.model.device.type == torch.device("cuda").type)
