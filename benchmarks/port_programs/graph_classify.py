"""Node classification on a random graph with communities: torch-geometric."""

import torch
import torch.nn.functional as F
from torch_geometric import seed_everything
from torch_geometric.data import Data
from torch_geometric.nn import GATConv, GCNConv

seed_everything(0)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
labels = torch.arange(120) % 3
same = labels[:, None] == labels[None, :]
edges = (torch.rand(120, 120) < torch.where(same, 0.12, 0.02)).nonzero().t().contiguous()
data = Data(x=torch.randn(120, 16) + labels[:, None] * 0.3, edge_index=edges, y=labels).to(device)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = GATConv(16, 16, heads=2), GCNConv(32, 3)

    def forward(self, x, edge_index):
        return self.second(F.relu(self.first(x, edge_index)), edge_index)


model = Net().to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for epoch in range(15):
    out = model(data.x, data.edge_index)
    loss = F.cross_entropy(out, data.y)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(f"epoch {epoch} loss {loss.item():.6f}")
print("right", int((out.argmax(1) == data.y).sum()))
