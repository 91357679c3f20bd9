"""What each kind of parting means, and what to look at first, in English and Chinese."""

from xinqiao.report.words import LANGUAGES, Language

KINDS: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {  # kind: (name, advice), each in both languages
    "failure": (
        ("the port stopped", "移植后的程序停止了"),
        (
            "This line raised the error; port.log beside the record has everything that the program printed.",
            "错误由这一行引发；记录旁边的 port.log 有程序打印的全部内容。",
        ),
    ),
    "values": (
        ("other values", "结果不同"),
        (
            "Everything before this call is the same: compare these two lines.",
            "此前的一切都相同：请比较这两行代码。",
        ),
    ),
    "number": (
        ("another number is read back", "读回的数不同"),
        (
            "Something before this line differs: what parts first says where.",
            "这一行之前已有不同：请看最先分开的地方。",
        ),
    ),
    "printed": (
        ("other numbers are printed", "打印的数不同"),
        (
            "Something before this line differs: what parts first says where.",
            "这一行之前已有不同：请看最先分开的地方。",
        ),
    ),
    "dtype": (
        ("another precision", "精度不同"),
        (
            "Look where the dtype is chosen: autocast, the default dtype, .to() or a branch on the device.",
            "请看数据类型在哪里确定：autocast、默认类型、.to()，或按设备区分的分支。",
        ),
    ),
    "shape": (
        ("other shapes", "形状不同"),
        (
            "Look for a size that depends on the device: a batch, a padding, a chunk.",
            "请找随设备变化的大小：批次、填充、分块。",
        ),
    ),
    "random": (
        ("other random numbers", "随机数不同"),
        (
            "Check that both seed the device, with the same number, and draw equally often before this line.",
            "请检查两边是否用同一个种子初始化设备，并且在这一行之前抽取的次数相同。",
        ),
    ),
    "missing": (
        ("a call is missing", "缺少调用"),
        (
            "Look whether the port takes another branch here, or computes this on the CPU.",
            "请看移植后的程序是否在这里走了另一个分支，或者在 CPU 上计算。",
        ),
    ),
    "host": (
        ("a detour through the host", "绕道主机"),
        (
            "A tensor goes to the CPU and back: right, but slow. Keep it on the device.",
            "张量到 CPU 再回来：结果正确，但很慢。请让它留在设备上。",
        ),
    ),
    "synchronize": (
        ("no longer waits for the device", "不再等待设备"),
        (
            "Put torch.accelerator.synchronize() here: without it times are wrong, and data may be read too early.",
            "请在这里加上 torch.accelerator.synchronize()：否则计时不对，数据也可能读得太早。",
        ),
    ),
    "autocast": (
        ("mixed precision differs", "混合精度不同"),
        (
            "Check device_type, dtype and enabled of torch.autocast.",
            "请检查 torch.autocast 的 device_type、dtype 和 enabled。",
        ),
    ),
    "gradient": (
        ("autograd is stopped elsewhere", "停止求导的位置不同"),
        (
            "Check torch.no_grad, inference_mode and the branch that chooses them.",
            "请检查 torch.no_grad、inference_mode，以及选择它们的分支。",
        ),
    ),
    "collective": (
        ("the ranks communicate differently", "进程间通信不同"),
        (
            "Check the back end, the group and the number of ranks.",
            "请检查通信后端、进程组和进程数。",
        ),
    ),
    "memory": (
        ("another amount of memory", "内存用量不同"),
        (
            "Compare who holds memory at the peak; a tensor may be kept, or kept in another precision.",
            "请比较峰值时由谁占用内存：可能有张量没有释放，或者精度不同。",
        ),
    ),
    "fallback": (
        ("runs on the host", "在主机上执行"),
        (
            "The chip has no such operator: replace it where it is called often.",
            "芯片没有这个算子：调用频繁时请替换。",
        ),
    ),
    "cuda": (
        ("still bound to CUDA", "仍绑定 CUDA"),
        ("The chip has no torch.cuda: rewrite this line.", "芯片上没有 torch.cuda：请改写这一行。"),
    ),
    "replaced": (("other calls, same precision", "调用不同，精度相同"), ("", "")),
    "extra": (("more calls", "更多调用"), ("", "")),
}


def name(kind: str, language: Language) -> str:
    """In a few words; the kind itself where it is not known."""
    return KINDS[kind][0][LANGUAGES.index(language)] if kind in KINDS else kind


def advice(kind: str, language: Language) -> str:
    """One sentence; '' where there is none."""
    return KINDS[kind][1][LANGUAGES.index(language)] if kind in KINDS else ""
