"""A small ESM-2 fills in masked residues: fair-esm."""

import esm
import torch

torch.manual_seed(0)
alphabet = esm.Alphabet.from_architecture("ESM-1b")
model = esm.ESM2(num_layers=2, embed_dim=32, attention_heads=4, alphabet=alphabet, token_dropout=True).cuda()
convert = alphabet.get_batch_converter()
letters = "ACDEFGHIKLMNPQRSTVWY"
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for step in range(10):
    words = ["".join(letters[i] for i in torch.randint(0, 20, (24,)).tolist()) for _ in range(8)]
    _, _, tokens = convert([(str(i), w) for i, w in enumerate(words)])
    hidden = torch.rand(tokens.shape) < 0.15
    masked = tokens.masked_fill(hidden, alphabet.mask_idx).cuda(non_blocking=True)
    logits = model(masked)["logits"]
    loss = torch.nn.functional.cross_entropy(logits[hidden.cuda()], tokens[hidden].cuda())
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(f"step {step} loss {loss.item():.6f}")
model.eval()
with torch.no_grad():
    contacts = model.predict_contacts(tokens.cuda())
print("contacts", contacts.shape, f"{contacts.float().mean().item():.6f}")
