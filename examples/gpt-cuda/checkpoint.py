import os

import torch


def save(path, model, optimizer, scaler, step):
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
        "step": step,
        "rng": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda_rng"] = torch.cuda.get_rng_state()
    torch.save(state, path)


def load(path, device, local_rank=0):
    if device.type == "cuda":
        map_location = {"cuda:0": f"cuda:{local_rank}"}
        return torch.load(path, map_location=map_location)
    return torch.load(path, map_location="cpu")


def resume(path, model, optimizer, scaler, device, local_rank=0):
    if not os.path.exists(path):
        return 0
    state = load(path, device, local_rank)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    scaler.load_state_dict(state["scaler"])
    torch.set_rng_state(state["rng"].cpu())
    if "cuda_rng" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda_rng"].cpu())
    return state["step"]


def weights_only(path):
    """For sampling on one card, whatever card wrote it."""
    if torch.cuda.is_available():
        return torch.load(path, map_location=lambda storage, loc: storage.cuda())["model"]
    return torch.load(path, map_location=torch.device("cpu"))["model"]
