"""A decoder learns to copy, then writes: x-transformers."""

import torch
from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

torch.manual_seed(0)
layers = Decoder(dim=64, depth=2, heads=4, rotary_pos_emb=True, attn_flash=True)
model = AutoregressiveWrapper(TransformerWrapper(num_tokens=64, max_seq_len=64, attn_layers=layers)).cuda()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for step in range(12):
    half = torch.randint(0, 64, (8, 16))
    loss = model(torch.cat((half, half), dim=1).cuda())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()
    optimizer.zero_grad()
    print(f"step {step} loss {loss.item():.6f}")
model.eval()
print("writes", model.generate(half[:1, :8].cuda(), 8, temperature=0.0).flatten().tolist())
