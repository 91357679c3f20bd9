"""A tabular learner with fastai's one-cycle schedule: fastai."""

import numpy as np
import pandas as pd
import torch
from fastai.tabular.all import (
    Categorify,
    CategoryBlock,
    Normalize,
    TabularDataLoaders,
    accuracy,
    set_seed,
    tabular_learner,
)

set_seed(0, reproducible=True)
numbers = np.random.RandomState(0)
frame = pd.DataFrame({"a": numbers.randn(400), "b": numbers.randn(400), "c": numbers.choice(["x", "y", "z"], 400)})
frame["target"] = (frame.a + (frame.c == "x") > 0.3).map({True: "yes", False: "no"}).astype(object)
data = TabularDataLoaders.from_df(
    frame, procs=[Categorify, Normalize], cat_names=["c"], cont_names=["a", "b"], y_names="target",
    y_block=CategoryBlock(), valid_idx=list(range(320, 400)), bs=64, device=torch.device("cuda"),
)  # fmt: skip
learner = tabular_learner(data, layers=[16, 8], n_out=2, metrics=accuracy)
with learner.no_bar(), learner.no_logging():
    learner.fit_one_cycle(3, 1e-2)
for values in learner.recorder.values:
    print(*(f"{v:.6f}" for v in values))
