from xinqiao.size.model import *
from functools import cache
def llama(n,L,h,f,nh,nkv,v):
    return Model(name=n,family="llama",hidden=h,vocab=v,layers=(Layer(count=L,attention=Attention(heads=nh,kv_heads=nkv,head_dim=h//nh,value_dim=h//nh),inner=f),),tied=False,context=4096,stored="bf16",source="")
mla=Attention(heads=128,kv_heads=1,head_dim=192,value_dim=128,q_rank=1536,kv_rank=512,rope_dim=64)
ds=Model(name="ds",family="deepseek_v3",hidden=7168,vocab=129280,layers=(Layer(count=3,attention=mla,inner=18432),Layer(count=58,attention=mla,experts=Experts(count=256,top_k=8,inner=2048,shared_inner=2048))),tied=False,context=4096,stored="fp8",source="")
M={"llama-2-7b":llama("l",32,4096,11008,32,32,32000),"llama-2-70b":llama("l",80,8192,28672,64,8,32000),"llama-3-8b":llama("l",32,4096,14336,32,8,128256),"llama-3-70b":llama("l",80,8192,28672,64,8,128256),"deepseek-r1":ds,"deepseek-v3":ds}
def load(n): return M[n]
