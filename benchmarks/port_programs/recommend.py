"""BPR on the small MovieLens sample that the package ships: recbole."""

import numpy_1_names  # noqa: F401
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

config = Config(
    model="BPR",
    dataset="ml-100k",
    config_dict={
        "epochs": 2, "train_batch_size": 2048, "eval_batch_size": 4096, "embedding_size": 16, "gpu_id": "0",
        "use_gpu": True, "show_progress": False, "metrics": ["Recall", "Hit"], "valid_metric": "Recall@10",
        "topk": [10], "save_dataset": False, "reproducibility": True, "state": "WARNING", "checkpoint_dir": "build",
    },
)  # fmt: skip
init_seed(config["seed"], config["reproducibility"])
train, valid, test = data_preparation(config, create_dataset(config))
model = get_model("BPR")(config, train.dataset).to(config["device"])
trainer = get_trainer(config["MODEL_TYPE"], "BPR")(config, model)
best, valid_result = trainer.fit(train, valid, saved=False, show_progress=False)
print("losses", [round(float(v), 6) for v in trainer.train_loss_dict.values()])
print("valid", {k: round(float(v), 6) for k, v in valid_result.items()})
