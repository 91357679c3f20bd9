"""Every public name of torch.cuda in torch 2.13, and what takes its place on another device.

A name is looked for in this order: PORTABLE, then the device's own module (`Platform.module`, or COMMON where that
is not known), then SAFE, then ASK. OTHER_RULES are looked at elsewhere.
"""

PORTABLE = {  # torch.cuda's name → the name in torch that every device shares
    "is_available": "accelerator.is_available",
    "device_count": "accelerator.device_count",
    "current_device": "accelerator.current_device_index",
    "set_device": "accelerator.set_device_index",
    "synchronize": "accelerator.synchronize",
    "OutOfMemoryError": "OutOfMemoryError",
    "AcceleratorError": "AcceleratorError",
}
RENAMED = {  # torch.cuda keeps the old name for the new one
    "max_memory_cached": "max_memory_reserved",
    "memory_cached": "memory_reserved",
    "reset_max_memory_allocated": "reset_peak_memory_stats",
    "reset_max_memory_cached": "reset_peak_memory_stats",
}
COMMON = {  # what the modules of all vendors whose sources are public have
    "Event", "Stream", "StreamContext", "can_device_access_peer", "current_stream", "default_stream", "device",
    "device_of", "empty_cache", "get_device_capability", "get_device_name", "get_device_properties",
    "get_rng_state", "get_rng_state_all", "initial_seed", "is_bf16_supported", "is_initialized", "manual_seed",
    "manual_seed_all", "max_memory_allocated", "max_memory_reserved", "mem_get_info", "memory", "memory_allocated",
    "memory_reserved", "memory_snapshot", "memory_stats", "memory_stats_as_nested_dict", "memory_summary",
    "reset_accumulated_memory_stats", "reset_peak_memory_stats", "seed", "seed_all",
    "set_per_process_memory_fraction", "set_rng_state", "set_rng_state_all", "set_stream", "stream",
}  # fmt: skip
OTHER_RULES = {
    "amp": "amp",
    "CUDAGraph": "graphs",
    "graph": "graphs",
    "graph_pool_handle": "graphs",
    "graphs": "graphs",
    "is_current_stream_capturing": "graphs",
    "make_graphed_callables": "graphs",
    "cudart": "profiling",
    "nvtx": "profiling",
    "profiler": "profiling",
}
SUBMODULES = ("memory", "random", "streams")  # their names are torch.cuda's too
SAFE = {
    "has_half": "a constant: True wherever PyTorch is newer than 2017",
    "has_magma": "False where PyTorch is not built with MAGMA, as on a CPU: the code has the other branch already",
    "ipc_collect": "frees memory that other processes gave back; nothing to free where torch.cuda is not in use",
}
_KERNEL = "CUDA source is compiled here: write it with PyTorch operators"
_ALLOCATOR = "guard it by ACCELERATOR == 'cuda', or use the allocator hooks of the vendor's module"
_MONITOR = "guard it by ACCELERATOR == 'cuda', or read it from the vendor's monitor"
_INTERNAL = "guard it by ACCELERATOR == 'cuda': it hands out CUDA's own handles"
_HISTORY = "guard it by ACCELERATOR == 'cuda'; the vendor's memory module may have the same name"
ASK = {  # the next step
    "CUDAPluggableAllocator": _ALLOCATOR,
    "CudaError": "catch RuntimeError, which every device's errors are",
    "DeferredCudaCallError": "catch RuntimeError, which every device's errors are",
    "ExternalStream": "use torch.Stream, or guard it: a foreign CUDA stream exists on CUDA only",
    "GreenContext": "guard it by ACCELERATOR == 'cuda', or run without: it divides the processors of one CUDA device",
    "MemPool": _ALLOCATOR,
    "caching_allocator_alloc": _ALLOCATOR,
    "caching_allocator_delete": _ALLOCATOR,
    "caching_allocator_disabled": _ALLOCATOR,
    "caching_allocator_enable": _ALLOCATOR,
    "change_current_allocator": _ALLOCATOR,
    "check_error": "catch RuntimeError from the call itself",
    "clock_rate": _MONITOR,
    "comm": "use torch.distributed, one process a device",
    "cudaStatus": "catch RuntimeError from the call itself",
    "current_blas_handle": _INTERNAL,
    "current_solver_handle": _INTERNAL,
    "default_generators": "use torch.Generator(device), or the module's get_rng_state and manual_seed",
    "device_memory_used": "use mem_get_info of the device's module",
    "gds": "read files through host memory where ACCELERATOR != 'cuda'",
    "get_allocator_backend": _ALLOCATOR,
    "get_arch_list": "guard it by ACCELERATOR == 'cuda': the list names NVIDIA's generations",
    "get_gencode_flags": "guard it by ACCELERATOR == 'cuda': the flags are nvcc's",
    "get_per_process_memory_fraction": "remember the fraction that was set",
    "get_stream_from_external": "use torch.Stream, or guard it: a foreign CUDA stream exists on CUDA only",
    "get_sync_debug_mode": "guard it by ACCELERATOR == 'cuda': it warns of CUDA's synchronizing calls",
    "green_contexts": "guard it by ACCELERATOR == 'cuda', or run without",
    "host_memory_stats": "leave out the statistics of pinned memory where ACCELERATOR != 'cuda'",
    "host_memory_stats_as_nested_dict": "leave out the statistics of pinned memory where ACCELERATOR != 'cuda'",
    "init": "leave it out: PyTorch starts a device at its first use",
    "is_tf32_supported": "write ACCELERATOR == 'cuda' and ... around it: TF32 is NVIDIA's format",
    "jiterator": _KERNEL,
    "list_gpu_processes": _MONITOR,
    "memory_usage": _MONITOR,
    "nccl": "use torch.distributed with the device's own back end",
    "power_draw": _MONITOR,
    "reset_accumulated_host_memory_stats": "leave out the statistics of pinned memory where ACCELERATOR != 'cuda'",
    "reset_peak_host_memory_stats": "leave out the statistics of pinned memory where ACCELERATOR != 'cuda'",
    "sparse": "write torch.sparse_coo_tensor(..., device=ACCELERATOR)",
    "set_sync_debug_mode": "guard it by ACCELERATOR == 'cuda': it warns of CUDA's synchronizing calls",
    "temperature": _MONITOR,
    "tunable": "guard it by ACCELERATOR == 'cuda': it tunes CUDA's and ROCm's matrix products",
    "use_mem_pool": _ALLOCATOR,
    "utilization": _MONITOR,
    "_dump_snapshot": _HISTORY,
    "_lazy_init": "leave it out: PyTorch starts a device at its first use",
    "_record_memory_history": _HISTORY,
    "_set_allocator_settings": _ALLOCATOR,
    "_sleep": "guard it by ACCELERATOR == 'cuda': it keeps a CUDA device busy, for tests",
    "_snapshot": _HISTORY,
}
DEFAULT_STEP = "find out whether the vendor's module has it, or guard it by ACCELERATOR == 'cuda'"
TYPED = tuple(
    f"{dtype}{kind}"
    for kind in ("Tensor", "Storage")
    for dtype in ("BFloat16", "Bool", "Byte", "Char", "ComplexDouble", "ComplexFloat", "Double", "Float", "Half", "Int",
                  "Long", "Short")
)  # fmt: skip
