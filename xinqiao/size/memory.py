from typing import NamedTuple
from xinqiao.size.model import Model
from xinqiao.size.plan import Plan, Formats
from xinqiao.size.attention import cache_bytes
from xinqiao.cost.kernel import stored
class Inference(NamedTuple):
    sequences: float
    context: float
    tokens: float
class Memory(NamedTuple):
    weights: float
    cache: float
    activations: float
    workspace: float
    @property
    def total(self): return sum(self)
def memory(model, plan, formats, use):
    w=0.0
    for m in model.matrices():
        if m.part=="mtp": continue
        f=stored(formats.plain)
        if m.part in("attention","mlp","shared","indexer") and m.k>1: f=stored(formats.weights)
        s=plan.tp
        if m.part=="experts": f=stored(formats.experts or formats.weights); s=plan.ep if plan.ep>1 else plan.tp
        w+=m.parameters*f/s/(plan.pp if m.part not in("embedding","head") else 1)
    kv=0.0
    for l in model.layers:
        a=l.attention
        kv+=l.count/plan.pp*cache_bytes(a,formats.cache,use.context,plan.tp)/plan.cp
    return Memory(w, kv*use.sequences, use.tokens*model.hidden*2*8+use.sequences*model.vocab/plan.tp*4, 1e9)
