"""Every word of the page of `size`, in English and Chinese; words.py has the others."""

SIZE_WORDS: dict[str, tuple[str, str]] = {
    # the top
    "size_title": ("The size of {model}", "{model} 的规模"),
    "size_prediction": (
        "This is a prediction, not a measurement. Each figure stands beside the interval that holds the true one "
        "with a probability of 80 %.",
        "这是预测，不是测量。每个数后面的区间以 80 % 的概率包含真实值。",
    ),
    "size_fits": (
        "{model} in {format} fits on {chip}, with {total} on each device",
        "{model}（{format}）放得进 {chip}，每个设备占用 {total}",
    ),
    "size_fits_unknown": (
        "{model} in {format} needs {total} on each device of {chip}; no source states how much they have",
        "{model}（{format}）在 {chip} 的每个设备上需要 {total}；没有来源说明设备的内存容量",
    ),
    "size_too_big": (
        "{model} in {format} does not fit on {chip}: it needs {total} on each device, more than the software "
        "takes of {capacity}.",
        "{model}（{format}）放不进 {chip}：每个设备需要 {total}，超过软件在 {capacity} 中可用的部分。",
    ),
    "size_speed": (": {rate} tokens a second from each chip", "：每个芯片每秒 {rate} 个词元"),
    "size_late": (", and a token every {ms} ms", "，每个词元 {ms} 毫秒"),
    "size_no_speed": (". Its speed is not predicted: {facts}.", "。不预测速度：{facts}。"),
    "size_best": (
        "{chip} make the most: {rate} tokens a second in all.",
        "{chip} 的总吞吐最高：每秒 {rate} 个词元。",
    ),
    "size_not_apart": (
        "This prediction cannot tell them apart from {others}: the intervals overlap.",
        "这个预测无法把它与 {others} 区分开：区间有重叠。",
    ),
    "size_without": ("No speed is told for {others}.", "没有给出 {others} 的速度。"),
    "size_none_known": ("No speed can be predicted for any of these chips.", "这些芯片的速度都无法预测。"),
    "size_unknown": ("unknown: {facts}", "未知：{facts}"),
    "size_not_told": ("not predicted for this phase", "这一阶段没有预测"),
    "size_not_fitting": ("the model does not fit", "模型放不进去"),
    # speed
    "size_compared": ("Throughput", "吞吐"),
    "size_each": ("Tokens a second from each chip", "每个芯片每秒的词元数"),
    "size_all": ("Tokens a second from all chips together", "所有芯片合计每秒的词元数"),
    "size_bars_note": (
        "A bar is the prediction, the line across its end the 80 % interval. Hatched: unknown.",
        "条的长度是预测值，末端的横线是 80 % 区间。斜线：未知。",
    ),
    "size_trade": ("Throughput against latency", "吞吐与延迟"),
    "size_trade_note": (
        "More sequences in flight make more tokens, each of them later. Up: tokens a second from each chip "
        "in decoding. To the right: milliseconds from one token to the next. The band is the 80 % interval.",
        "并发的序列越多，产出的词元越多，每个词元也越慢。纵轴：解码时每个芯片每秒的词元数。"
        "横轴：相邻词元之间的毫秒数。色带是 80 % 区间。",
    ),
    "sequences": ("sequences a chip", "每芯片序列数"),
    # memory
    "size_memory_note": (
        "What one device holds. The line is what the device has: {capacity}.",
        "一个设备上的内存。竖线是设备的容量：{capacity}。",
    ),
    "size_memory_unknown": (
        "What one device holds. No source states what it has.",
        "一个设备上的内存。没有来源说明其容量。",
    ),
    "size_total": ("together", "合计"),
    "part": ("part", "部分"),
    "part_weights": ("weights", "权重"),
    "part_cache": ("KV cache", "KV 缓存"),
    "part_activations": ("activations", "激活"),
    "part_workspace": ("workspace", "工作区"),
    "part_master": ("fp32 master weights", "fp32 主权重"),
    "part_logits": ("logits and loss", "输出与损失"),
    "part_gradients": ("gradients", "梯度"),
    "part_optimizer": ("optimizer", "优化器"),
    # what limits
    "size_limits": ("What limits {chip}", "{chip} 受什么限制"),
    "size_limits_note": (
        "The share of the time that each resource bounds, and what a tenth more of it would add to the throughput.",
        "各种资源所限制的时间占比，以及该资源多 10 % 能增加多少吞吐。",
    ),
    "resource": ("resource", "资源"),
    "share": ("share of the time", "时间占比"),
    "ten_percent": ("+10 % brings", "+10 % 带来"),
    "limit_arithmetic": ("arithmetic", "算力"),
    "limit_bandwidth": ("memory bandwidth", "内存带宽"),
    "limit_links": ("links", "互联"),
    "limit_latency": ("latency of messages", "消息延迟"),
    "limit_launch and host": ("launch and host", "启动和主机"),
    "roofline": ("Roofline", "屋顶线"),
    "roofline_note": (
        "Up: FLOP/s of one device, to the right: FLOP/byte, both logarithmic. Lines are the chip's peaks as its "
        "sources state them (dashed: not used), and its memory bandwidth, {bandwidth}/s. A dot is an operator, as "
        "large as its share of the time; its colour says what bounds it:",
        "纵轴：一个设备的 FLOP/s；横轴：FLOP/字节；都是对数坐标。"
        "线是来源所说的峰值（虚线：未使用）和内存带宽 {bandwidth}/s。"
        "每个点是一个算子，大小为其时间占比，颜色表示受什么限制：",
    ),
    "bound_by": ("bound by", "受限于"),
    "bound_compute": ("arithmetic", "算力"),
    "bound_attention": ("arithmetic of attention", "注意力的算力"),
    "bound_memory": ("memory bandwidth", "内存带宽"),
    "bound_cache": ("reading the KV cache", "读取 KV 缓存"),
    "bound_launch": ("launches", "启动"),
    "bound_core": ("the least time of attention's core", "注意力核心的最短时间"),
    "bound_host": ("the host", "主机"),
    "bound_link": ("a link's rate", "链路速率"),
    "bound_latency": ("a message's latency", "消息延迟"),
    "show_operators": ("Show {count} operators", "显示 {count} 个算子"),
    "show_operators_one": ("Show 1 operator", "显示 1 个算子"),
    "size_operators_note": (
        "One iteration on one device, all layers together, before anything is hidden behind anything else.",
        "一次迭代、一个设备、所有层合计，尚未计入重叠。",
    ),
    "level": ("rests on", "依据"),
    "level_measured": ("measured shapes", "实测形状"),
    "level_curve": ("a curve of efficiency", "效率曲线"),
    "level_roofline": ("a roofline with constants", "带常数的屋顶线"),
    "intensity": ("FLOP/byte", "FLOP/字节"),
    "reached": ("reached", "达到"),
    "format": ("format", "格式"),
    # figures and what they rest on
    "size_figures": ("All figures", "全部数字"),
    "size_phase": ("phase", "阶段"),
    "phase_prefill": ("prefill", "预填充"),
    "phase_decode": ("decode", "解码"),
    "phase_serve": ("serving", "服务"),
    "phase_train": ("training", "训练"),
    "phase_finetune": ("fine-tuning", "微调"),
    "devices": ("devices, as PyTorch sees them", "设备数（PyTorch 所见）"),
    "plan": ("plan", "并行方案"),
    "software": ("software", "软件"),
    "formats": ("formats: weights, KV cache, attention", "格式：权重、KV 缓存、注意力"),
    "prefill_tokens_per_second_per_chip": ("prefill, tokens/s a chip", "预填充，词元/秒/芯片"),
    "decode_tokens_per_second_per_chip": ("decode, tokens/s a chip", "解码，词元/秒/芯片"),
    "serving_tokens_per_second_per_chip": ("serving, tokens/s a chip", "服务，词元/秒/芯片"),
    "training_tokens_per_second_per_chip": ("training, tokens/s a chip", "训练，词元/秒/芯片"),
    "tpot_ms": ("time per token (TPOT), ms", "每词元时间（TPOT），毫秒"),
    "ttft_ms": ("time to the first token (TTFT), ms", "首词元时间（TTFT），毫秒"),
    "mfu": ("model FLOP utilisation (MFU)", "模型算力利用率（MFU）"),
    "days": ("days", "天数"),
    "cost_per_million_tokens": ("cost of a million tokens", "每百万词元的成本"),
    "prefill_chips_per_decode_chip": ("prefill chips for each decode chip", "每个解码芯片所需的预填充芯片"),
    "size_rests": ("What {chip} rests on", "{chip} 的依据"),
    "assumptions": ("Assumed", "假设"),
    "unknown_facts": ("Unknown", "未知"),
}
