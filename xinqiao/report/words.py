"""Every word of the page, in English and Chinese. `{...}` is filled in."""

from typing import Literal

from xinqiao.report.size_words import SIZE_WORDS

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")

WORDS: dict[str, tuple[str, str]] = {
    # the top
    "title": ("Moved to {chip}", "迁移到 {chip}"),
    "title_run": ("A run on {chip}", "在 {chip} 上的运行"),
    "virtual": ("virtual {chip}", "虚拟 {chip}"),
    "not_a_proof": (
        "A virtual run computes on this machine's CPU. "
        "It does not prove the chip's numerics, and its times are predicted.",
        "虚拟运行在本机 CPU 上计算。它不能证明芯片的数值结果，时间也是预测值。",
    ),
    "fiction": (
        "Shapes mode: there is no data, so numbers that the program reads from a tensor are fiction.",
        "形状模式：没有数据，程序从张量读出的数都是虚构的。",
    ),
    "the_port": ("the port", "移植后的程序"),
    "the_original": ("the original", "原程序"),
    "the_program": ("the program", "程序"),
    "the_first_run": ("the first run", "第一次运行"),
    "stop": (".", "。"),
    "verdict_ran": ("{who} runs on the {chip}", "{who}能在{chip} 上运行"),
    "verdict_failed": (
        "{who} stopped with exit code {code} on the {chip}.",
        "在{chip} 上，{who}以退出码 {code} 停止。",
    ),
    "verdict_shapes": (", in shapes mode: without data.", "（形状模式，没有数据）。"),
    "verdict_same": (
        " and read back the same {count} numbers as {other} on the {chip}.",
        "，读回的 {count} 个数与{other}在{chip} 上的完全相同。",
    ),
    "verdict_same_one": (
        " and read back the same number as {other} on the {chip}.",
        "，读回的数与{other}在{chip} 上的完全相同。",
    ),
    "verdict_differs": (
        ", but its numbers differ from those of {other} on the {chip}, by {difference} at most.",
        "，但它的数与{other}在{chip} 上的不同，最大相差 {difference}。",
    ),
    "verdict_uncompared": (
        ", but not every number could be compared with {other} on the {chip}: "
        "one of them read back more than the other.",
        "，但有些数无法与{other}在{chip} 上的比较：两者读回的个数不同。",
    ),
    "verdict_nothing_read": (
        ". Nothing was compared with {other} on the {chip}: no numbers were recorded for both.",
        "。没有与{other}在{chip} 上的结果比较：没有两边都记录的数。",
    ),
    "verdict_no_run": ("The code was moved to {chip}; it has not run yet.", "代码已迁移到 {chip}，尚未运行。"),
    "verdict_refused": ("The chip refuses {count} operators.", "芯片拒绝 {count} 个算子。"),
    "verdict_refused_one": ("The chip refuses 1 operator.", "芯片拒绝 1 个算子。"),
    "verdict_fallback": ("{count} operators run on the host, slowly.", "{count} 个算子在主机上执行，较慢。"),
    "verdict_fallback_one": ("1 operator runs on the host, slowly.", "1 个算子在主机上执行，较慢。"),
    # a proof's verdict, and what to do
    "same": ("Same", "相同"),
    "close": ("Close", "接近"),
    "differs": ("Differs", "不同"),
    "proof_same": (
        "The port on the {chip} computes what the original computes on the {other}, bit for bit.",
        "移植后的程序在{chip} 上的计算与原程序在{other} 上的逐位相同。",
    ),
    "proof_close": (
        "The port on the {chip} computes what the original computes on the {other}, but for rounding.",
        "移植后的程序在{chip} 上的计算与原程序在{other} 上的只差舍入误差。",
    ),
    "proof_differs": (
        "The port on the {chip} does not do what the original does on the {other}.",
        "移植后的程序在{chip} 上所做的与原程序在{other} 上的不同。",
    ),
    "proof_stopped": ("The port stopped on the {chip}.", "移植后的程序在{chip} 上停止了。"),
    "to_do": ("What to do", "接下来做什么"),
    "do_first": ("Start at {place}: {what}", "从 {place} 开始：{what}"),
    "do_first_nowhere": ("Start here: {what}", "从这里开始：{what}"),
    "do_needs_you": ("{count} places in the code need you.", "代码中有 {count} 处需要您处理。"),
    "do_needs_you_one": ("1 place in the code needs you.", "代码中有 1 处需要您处理。"),
    "do_unproven": (
        "{count} of the {changed} statements that the port changed never ran: nothing is proven of them. "
        "Run the program in a way that reaches them.",
        "移植改动的 {changed} 条语句中，有 {count} 条从未执行，因此未获证明。请换一种方式运行程序，使它们被执行到。",
    ),
    "do_unproven_one": (
        "1 of the {changed} statements that the port changed never ran: nothing is proven of it. "
        "Run the program in a way that reaches it.",
        "移植改动的 {changed} 条语句中，有 1 条从未执行，因此没有得到证明。请换一种方式运行程序，使它被执行到。",
    ),
    "do_prove": ("Run the original and the port, and compare them:", "运行原程序和移植后的程序，并比较："),
    "do_chip": (
        "Nothing is left to do here. On the chip itself, keep a record, and compare it with the virtual one:",
        "这里没有需要做的了。请在芯片上留下记录，再与虚拟运行的记录比较：",
    ),
    "do_nothing": ("Nothing is left to do.", "没有需要做的了。"),
    # the proof
    "proof": ("What was compared", "比较了什么"),
    "of": ("{part} of {all}", "{part} / {all}"),
    "count_numbers": ("numbers read back are the same", "个读回的数相同"),
    "count_printed": ("printed lines with numbers are the same", "行打印的数相同"),
    "count_calls": ("calls of operators gave the same bits", "次算子调用结果逐位相同"),
    "count_modules": ("modules got and gave the same bits", "个模块的输入和输出逐位相同"),
    "count_changed": ("changed statements ran", "条改动的语句执行过"),
    "bound": (
        "Numbers up to {bound} apart, relative, are close: the same sums in another order round differently.",
        "相对差不超过 {bound} 的数视为接近：同样的和换一个顺序相加，舍入就不同。",
    ),
    "partings": ("Where the two runs part", "两次运行在哪里分开"),
    "partings_note": (
        "The first one comes first; what comes after it often follows from it.",
        "最先出现的排在最前；后面的往往由它引起。",
    ),
    "was_at": ("in the original: {place}", "在原程序中：{place}"),
    "no_line": ("the run as a whole", "整个运行"),
    "rank_number": ("rank {rank}", "进程 {rank}"),
    "distance": ("relative distance {distance}", "相对距离 {distance}"),
    "show_partings": ("Show {count} more", "显示另外 {count} 处"),
    "unproven": ("What never ran", "从未执行的语句"),
    "show_unproven": ("Show {count} more statements", "显示另外 {count} 条语句"),
    "show_unproven_one": ("Show 1 more statement", "显示另外 1 条语句"),
    "left_out_statements": (
        "{count} more are in the proof but not on this page.",
        "另有 {count} 条在证明文件中，本页未列出。",
    ),
    "notes": ("Worth knowing", "值得注意"),
    "peak": ("most memory held", "最大内存占用"),
    # the code
    "changes": ("What was changed, and what needs you", "改动，以及需要您处理的地方"),
    "changes_counts": (
        "Files read: {files}, with {lines} lines. Files changed: {changed}.",
        "读了 {files} 个文件、{lines} 行；改动了 {changed} 个文件。",
    ),
    "rewritten": ("Rewritten", "已改写"),
    "safe": ("Safe as it is", "无需改动"),
    "needs-you": ("Needs you", "需要您处理"),
    "refused-by-chip": ("Refused by the chip", "芯片拒绝"),
    "show_places": ("Show {count} places", "显示 {count} 处"),
    "show_places_one": ("Show 1 place", "显示 1 处"),
    "show_more_places": ("Show {count} more places", "显示另外 {count} 处"),
    "show_more_places_one": ("Show 1 more place", "显示另外 1 处"),
    "dependencies": ("In installed packages that the project imports", "项目导入的已安装软件包"),
    "package": ("package", "软件包"),
    "choice": ("what this port does about it", "本次移植的处理"),
    "patch": ("a ported copy is in the project", "项目中附有移植后的副本"),
    "translate": ("its CUDA calls are translated while it runs", "运行时翻译它的 CUDA 调用"),
    "left_alone": ("nothing", "不处理"),
    "nothing_found": ("Nothing that is bound to CUDA was found.", "没有发现绑定 CUDA 的代码。"),
    # the numbers
    "numbers": ("The numbers, side by side", "数值对比"),
    "numbers_note": (
        "What the program read back from the device (a loss, mostly), in order.",
        "程序从设备读回的数（多为损失值），按顺序排列。",
    ),
    "numbers_held": ("The {chip} is what the others are compared with.", "以{chip} 为比较的基准。"),
    "identical": ("All {count} numbers are bit-identical.", "{count} 个数逐位相同。"),
    "identical_one": ("The number is bit-identical.", "这个数逐位相同。"),
    "difference": ("The largest difference is {difference}.", "最大相差 {difference}。"),
    "lengths": ("The lengths differ: {lengths}.", "个数不同：{lengths}。"),
    "alone": ("Only this run read them back: {chip}.", "只有这次运行读回了这些数：{chip}。"),
    "series": ("Series {number}", "第 {number} 组"),
    "series_rank": ("Series {number} of rank {rank}", "进程 {rank} 的第 {number} 组"),
    "step": ("number", "序号"),
    "show_numbers": ("Show the numbers", "显示这些数"),
    "first_numbers": ("The first {shown} of {count}.", "共 {count} 个，显示前 {shown} 个。"),
    "more_series": ("Show {count} more series", "显示另外 {count} 组"),
    # time
    "time": ("Where the time goes", "时间分布"),
    "time_note": (
        "The cost model predicts {seconds} on the {chip}. A bar is one operator, all its calls together; "
        "its colour and its word say how the chip supports it.",
        "代价模型预测在{chip} 上需要 {seconds}。每一条是一个算子的全部调用之和；颜色和文字表示芯片是否支持它。",
    ),
    "operator": ("operator", "算子"),
    "calls": ("{count} calls", "调用 {count} 次"),
    "calls_one": ("1 call", "调用 1 次"),
    "call_count": ("calls", "调用次数"),
    "predicted": ("predicted time", "预测时间"),
    "work": ("arithmetic", "运算量"),
    "moved": ("data moved", "数据量"),
    "support": ("support", "支持"),
    "native": ("native", "原生支持"),
    "fallback": ("on the host", "主机执行"),
    "refused": ("refused", "拒绝"),
    "unknown": ("unknown", "未知"),
    "others": ("Show {count} more operators", "显示另外 {count} 个算子"),
    "others_one": ("Show 1 more operator", "显示另外 1 个算子"),
    "left_out": (
        "{count} more, {seconds} together, are in the record but not on this page.",
        "另有 {count} 个，共 {seconds}，在记录文件中，本页未列出。",
    ),
    "other_runs": ("Show the same for {chip}", "显示{chip}的同样内容"),
    "rank_of": ("{rank} (of {ranks})", "{rank}（共 {ranks} 个）"),
    # memory
    "memory": ("Memory", "内存"),
    "memory_note": (
        "Device {device}: at most {peak} were held, {share} of {capacity}.",
        "设备 {device}：最多占用 {peak}，为容量 {capacity} 的 {share}。",
    ),
    "memory_note_unknown": (
        "Device {device}: at most {peak} were held. The chip's capacity is not known.",
        "设备 {device}：最多占用 {peak}。芯片容量未知。",
    ),
    "memory_axis": ("simulated time: {seconds}", "模拟时间：{seconds}"),
    "memory_scaled": (
        "The curve is scaled to its peak, not to the capacity.",
        "曲线按峰值缩放，不是按容量。",
    ),
    "memory_title": ("Memory over simulated time", "内存随模拟时间的变化"),
    "holders": ("Who held it at the peak", "峰值时由谁占用"),
    "line": ("line", "代码行"),
    "module": ("module", "模块"),
    "held": ("held", "占用"),
    "more_holders": ("Show {count} more", "显示另外 {count} 个"),
    # the rest
    "collectives": ("Collectives", "集合通信"),
    "backend": ("back end", "后端"),
    "incidents": ("Refused, or run on the host", "被拒绝，或在主机上执行"),
    "first_line": ("first at", "首次出现"),
    "source": ("source", "来源"),
    "none": ("None.", "无。"),
    "unknowns": ("What is not known", "未知的部分"),
    "unknown_operators": (
        "No source says whether {chip} has these operators at these dtypes. They ran as if it had:",
        "没有来源说明 {chip} 是否支持这些算子和数据类型。运行时按支持处理：",
    ),
    "capacity_unknown": (
        "The memory capacity of {chip} is not known: nothing was refused for want of memory.",
        "{chip} 的内存容量未知：没有因内存不足而拒绝。",
    ),
    "circumstances": ("How it was run", "运行情况"),
    "chip": ("chip", "芯片"),
    "program": ("program", "程序"),
    "mode": ("mode", "模式"),
    "values": ("values", "数值"),
    "shapes": ("shapes", "形状"),
    "ranks": ("rank", "进程"),
    "seed": ("seed", "随机种子"),
    "wall": ("wall time", "实际用时"),
    "exit_code": ("exit code", "退出码"),
    "versions": ("versions", "版本"),
    **SIZE_WORDS,
}


def say(language: Language, key: str, **parts: object) -> str:
    """The words for `key`, in the singular where it has one and count is 1; KeyError for a key that is not there."""
    if parts.get("count") == 1 and f"{key}_one" in WORDS:
        key = f"{key}_one"
    return WORDS[key][LANGUAGES.index(language)].format(**parts)


def sentence(text: str) -> str:
    """With a capital at its start, as a name in the middle of a sentence has none."""
    return text[:1].upper() + text[1:]
