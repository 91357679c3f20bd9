"""Every word of the page, in English and Chinese. `{...}` is filled in."""

from typing import Literal

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")

WORDS: dict[str, tuple[str, str]] = {
    "title": ("Moved to {chip}", "迁移到 {chip}"),
    "title_run": ("A run on {chip}", "在 {chip} 上的运行"),
    "virtual": ("virtual {chip}", "虚拟 {chip}"),
    "real": ("{chip}", "{chip}"),
    "not_a_proof": (
        "A virtual run computes on this machine's CPU. "
        "It does not prove the chip's numerics, and its times are predicted.",
        "虚拟运行在本机 CPU 上计算。它不能证明芯片的数值结果，时间也是预测值。",
    ),
    "fiction": (
        "Shapes mode: there is no data, so numbers that the program reads from a tensor are fiction.",
        "形状模式：没有数据，程序从张量读出的数都是虚构的。",
    ),
    "verdict_ran": ("{who} ran to the end on the {chip}.", "{who}在{chip}上运行完成。"),
    "verdict_failed": ("{who} stopped with exit code {code} on the {chip}.", "{who}在{chip}上以退出码 {code} 停止。"),
    "the_port": ("The port", "移植后的程序"),
    "the_original": ("The original", "原程序"),
    "the_program": ("The program", "程序"),
    "verdict_same": (
        "It read back the same {count} numbers as the original on the {chip}, bit for bit.",
        "它读回的 {count} 个数与原程序在{chip}上的逐位相同。",
    ),
    "verdict_differs": (
        "Its numbers differ from the original's on the {chip}: by {difference} at most.",
        "它的数与原程序在{chip}上的不同：最大相差 {difference}。",
    ),
    "verdict_uncompared": (
        "Its numbers could not be lined up with the original's.",
        "它的数无法与原程序的对齐比较。",
    ),
    "verdict_needs_you": ("{count} places need you.", "有 {count} 处需要您处理。"),
    "verdict_needs_nobody": ("No place needs you.", "没有需要您处理的地方。"),
    "verdict_refused": ("{count} operators are refused by the chip.", "芯片拒绝 {count} 个算子。"),
    "verdict_fallback": ("{count} operators fall back to the host.", "{count} 个算子回退到主机执行。"),
    "changes": ("What was changed", "改动"),
    "changes_counts": (
        "{files} files, {lines} lines looked at; {changed} files changed.",
        "检查了 {files} 个文件、{lines} 行；改动了 {changed} 个文件。",
    ),
    "rewritten": ("rewritten", "已改写"),
    "safe": ("safe", "可保留"),
    "needs-you": ("needs you", "需要您"),
    "refused-by-chip": ("refused by the chip", "芯片拒绝"),
    "place": ("place", "位置"),
    "before": ("before", "改写前"),
    "after": ("after", "改写后"),
    "reason": ("reason", "原因"),
    "show_all": ("show all {count}", "显示全部 {count} 处"),
    "nothing_found": ("Nothing CUDA-bound was found.", "没有发现绑定 CUDA 的代码。"),
    "numbers": ("The numbers, side by side", "数值对比"),
    "numbers_note": (
        "What each program read back from the device (a loss, mostly), lined up in order.",
        "各程序从设备读回的数（多为损失值），按顺序对齐。",
    ),
    "step": ("step", "步"),
    "difference": ("Largest difference", "最大差"),
    "identical": ("Bit-identical", "逐位相同"),
    "chip": ("chip", "芯片"),
    "run": ("run", "运行"),
    "time": ("Where the time goes", "时间分布"),
    "time_note": (
        "Predicted by the cost model, all calls together. "
        "The colour and the word say how the chip supports the operator.",
        "由代价模型预测，为全部调用之和。颜色和文字表示芯片对算子的支持情况。",
    ),
    "operator": ("operator", "算子"),
    "dtype": ("dtype", "数据类型"),
    "calls": ("calls", "调用"),
    "predicted": ("predicted", "预测"),
    "work": ("arithmetic", "运算量"),
    "moved": ("data moved", "数据量"),
    "support": ("support", "支持"),
    "native": ("native", "原生"),
    "fallback": ("host fallback", "主机回退"),
    "refused": ("refused", "拒绝"),
    "unknown": ("unknown", "未知"),
    "others": ("{count} others", "其余 {count} 个"),
    "memory": ("Memory", "内存"),
    "memory_note": ("Peak {peak} of {capacity} on device {device}.", "设备 {device} 峰值 {peak}，容量 {capacity}。"),
    "capacity_unknown": ("an unknown capacity", "未知"),
    "peak": ("peak", "峰值"),
    "holders": ("Who held it at the peak", "峰值时的占用"),
    "line": ("line", "代码行"),
    "module": ("module", "模块"),
    "bytes": ("bytes", "字节"),
    "collectives": ("Collectives", "集合通信"),
    "backend": ("back end", "后端"),
    "incidents": ("Refused, or moved to the host", "被拒绝或回退到主机"),
    "source": ("source", "来源"),
    "none": ("None.", "无。"),
    "unknowns": ("What is not known", "未知的部分"),
    "unknown_operators": (
        "No source says whether the chip has these operators at these dtypes; they ran as if it had.",
        "没有来源说明芯片是否支持这些算子和类型；运行时按支持处理。",
    ),
    "circumstances": ("Circumstances", "运行环境"),
    "program": ("program", "程序"),
    "mode": ("mode", "模式"),
    "values": ("values", "数值"),
    "shapes": ("shapes", "形状"),
    "seed": ("seed", "随机种子"),
    "wall": ("wall time", "实际用时"),
    "exit_code": ("exit code", "退出码"),
    "versions": ("versions", "版本"),
    "ranks": ("ranks", "进程数"),
}


def say(language: Language, key: str, **parts: object) -> str:
    """The words for `key`; KeyError for one that the table does not have."""
    return WORDS[key][LANGUAGES.index(language)].format(**parts)
