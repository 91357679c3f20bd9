"""A small Whisper listens to noise, learns one sentence, and transcribes: openai-whisper."""

import torch
import whisper
from whisper.model import ModelDimensions, Whisper
from whisper.tokenizer import get_tokenizer

torch.manual_seed(0)
device = "cuda" if torch.cuda.is_available() else "cpu"
sizes = ModelDimensions(
    n_mels=80, n_audio_ctx=1500, n_audio_state=32, n_audio_head=2, n_audio_layer=1,
    n_vocab=51865, n_text_ctx=64, n_text_state=32, n_text_head=2, n_text_layer=1,
)  # fmt: skip
model = Whisper(sizes)
model.alignment_heads = model.alignment_heads.to_dense()  # for word times, not asked for here
with torch.no_grad():
    for parameter in model.parameters():  # some are uninitialised: a checkpoint would fill them
        parameter.copy_(torch.randn(parameter.shape) * 0.05)
model = model.to(device)
tokenizer = get_tokenizer(multilingual=True, language="en", task="transcribe")
sentence = [*tokenizer.sot_sequence_including_notimestamps, *tokenizer.encode(" a short sentence"), tokenizer.eot]
mel = whisper.log_mel_spectrogram(torch.randn(30 * 16000) * 0.1).to(device)
text = torch.tensor([sentence], device=device)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
for step in range(8):
    logits = model(mel[None], text[:, :-1])
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten())
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(f"step {step} loss {loss.item():.6f}")
result = whisper.decode(model, mel, whisper.DecodingOptions(language="en", fp16=False, sample_len=8))
print("hears", result.tokens, f"{result.avg_logprob:.6f}")
