"""A tiny character corpus: sums written out, so that there is something to learn."""

import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

CHARS = "0123456789+= \n"


def corpus(n=4000, seed=0):
    g = torch.Generator().manual_seed(seed)
    pairs = torch.randint(0, 100, (n, 2), generator=g).tolist()
    return "".join(f"{a}+{b}={a + b}\n" for a, b in pairs)


class CharDataset(Dataset):
    def __init__(self, block_size):
        index = {c: i for i, c in enumerate(CHARS)}
        self.ids = torch.tensor([index[c] for c in corpus()])
        self.block_size = block_size

    def __len__(self):
        return (len(self.ids) - 1) // self.block_size

    def __getitem__(self, i):
        chunk = self.ids[i * self.block_size : (i + 1) * self.block_size + 1]
        return chunk[:-1], chunk[1:]


def make_loader(args, world_size, rank):
    dataset = CharDataset(args.block_size)
    sampler = DistributedSampler(dataset, world_size, rank, shuffle=True, seed=args.seed)
    return DataLoader(
        dataset,
        batch_size=args.batch_size,
        sampler=sampler,
        num_workers=args.workers,
        pin_memory=args.device.startswith("cuda"),
        drop_last=True,
        generator=torch.Generator().manual_seed(args.seed),  # else the loader draws from the model's stream
    )


class CUDAPrefetcher:
    """Copies the next batch to the GPU on a side stream while the current one is being used."""

    def __init__(self, loader, device):
        self.loader, self.device = loader, device
        self.stream = torch.cuda.Stream() if device.type == "cuda" else None

    def __iter__(self):
        it = iter(self.loader)
        batch = self._load(it)
        while batch is not None:
            if self.stream is not None:
                torch.cuda.current_stream().wait_stream(self.stream)
                for t in batch:
                    t.record_stream(torch.cuda.current_stream())
            following = self._load(it)
            yield batch
            batch = following

    def _load(self, it):
        try:
            x, y = next(it)
        except StopIteration:
            return None
        if self.stream is None:
            return x.to(self.device), y.to(self.device)
        with torch.cuda.stream(self.stream):
            return x.cuda(non_blocking=True), y.cuda(non_blocking=True)
