"""Where PyTorch takes the name of a device or of a collective back end, and where Python takes keys and file names.

Source: the signatures of PyTorch 2.13 (torch, torch.amp, torch.distributed) and of Python's standard library.
"""

import re

# Function → positions of its parameters that take a device. Keywords are taken by name, below.
DEVICE_POSITIONS: dict[str, tuple[int, ...]] = {
    "torch.device": (0,),
    "torch.Generator": (0,),
    "torch.Stream": (0,),
    "torch.Event": (0,),
    "torch.load": (1,),
    "torch.jit.load": (1,),
    "torch.set_default_device": (0,),
    "torch.get_device_module": (0,),
    "torch.autocast": (0,),
    "torch.is_autocast_enabled": (0,),
    "torch.set_autocast_enabled": (0,),
    "torch.get_autocast_dtype": (0,),
    "torch.set_autocast_dtype": (0,),
    "torch.GradScaler": (0,),
    "torch.amp.autocast": (0,),
    "torch.amp.autocast_mode.autocast": (0,),
    "torch.amp.GradScaler": (0,),
    "torch.amp.grad_scaler.GradScaler": (0,),
    "torch.amp.is_autocast_available": (0,),
    "torch.distributed.get_default_backend_for_device": (0,),
    "torch.distributed.init_device_mesh": (0,),
    "torch.distributed.DeviceMesh": (0,),
    "torch.distributed.device_mesh.init_device_mesh": (0,),
    "torch.distributed.device_mesh.DeviceMesh": (0,),
    "torch.distributed.tensor.DeviceMesh": (0,),
    "torch.from_dlpack": (1,),
    "torch.utils.data.default_device": (0,),
    "torch.accelerator.set_device_index": (0,),
    "torch.accelerator.synchronize": (0,),
}
BACKEND_POSITIONS: dict[str, tuple[int, ...]] = {
    "torch.distributed.init_process_group": (0,),
    "torch.distributed.new_group": (2,),
    "torch.distributed.is_backend_available": (0,),
    "torch.distributed.Backend": (0,),
    "torch.distributed.distributed_c10d.init_process_group": (0,),
    "torch.distributed.distributed_c10d.new_group": (2,),
}
DEVICE_METHODS = {"to", "to_empty"}  # their first argument, on whatever object
DEVICE_KEYWORDS = {"device", "device_type", "map_location", "pin_memory_device", "accelerator"}
DEVICE_RESULTS = {"torch.device", "torch.accelerator.current_accelerator", "torch.get_default_device"}
BACKEND_RESULTS = {
    "torch.distributed.get_backend",
    "torch.distributed.distributed_c10d.get_backend",
    "torch.distributed.get_default_backend_for_device",
}

READERS = {
    "print", "warn", "info", "debug", "warning", "error", "critical", "exception", "log", "echo", "secho", "pprint",
    "add_scalar", "set_description", "set_postfix_str", "skip", "skipif", "xfail", "fail", "write",
}  # fmt: skip
TEXT_KEYWORDS = {"help", "description", "epilog", "usage", "desc", "reason", "msg", "message", "title", "metavar"}
NAMERS = {"hasattr", "getattr", "setattr", "delattr"}
FILE_FUNCTIONS = {
    "open", "os.path.join", "os.path.exists", "os.makedirs", "os.mkdir", "pathlib.Path", "torch.save",
    "os.path.isfile", "os.path.isdir", "os.remove", "shutil.copy", "glob.glob",
}  # fmt: skip
# A call of these gives back what was put in, or a part of it.
SAME_FUNCTIONS = {
    "str", "list", "tuple", "set", "sorted", "reversed", "iter", "next", "enumerate", "zip", "map", "filter",
    "frozenset",
    "itertools.cycle", "itertools.chain", "itertools.repeat", "copy.copy", "copy.deepcopy", "typing.cast", "cast",
}  # fmt: skip
SAME_METHODS = {
    "lower", "upper", "strip", "lstrip", "rstrip", "split", "rsplit", "partition", "rpartition", "replace",
    "removeprefix", "removesuffix", "items", "values", "copy", "keys", "casefold",
}  # fmt: skip
# Methods of tensors and modules that give back the same, or one like it.
SAME_OBJECT_METHODS = {
    "to", "cuda", "cpu", "float", "half", "double", "bfloat16", "eval", "train", "detach", "clone", "contiguous",
    "requires_grad_", "share_memory", "share_memory_", "pin_memory", "type_as",
}  # fmt: skip
# Methods of text that look for their argument in it.
TEXT_METHODS = {
    "startswith", "endswith", "find", "index", "rfind", "count", "split", "rsplit", "partition", "rpartition",
    "replace", "removeprefix", "removesuffix", "strip", "lstrip", "rstrip",
}  # fmt: skip
FIELD_MAKERS = {"field", "Field", "attrib", "ib", "Option", "Argument", "Param", "param", "sampled_from"}
RECORD_MAKERS = {
    "dict", "SimpleNamespace", "Namespace", "EasyDict", "edict", "AttrDict", "Munch", "replace", "_replace",
    "set_defaults", "update",
}  # fmt: skip

_SUFFIX = {"type", "types", "str", "string", "name", "names", "id", "ids", "idx", "list", "arg", "spec", "target", "s"}
_DEVICE_WORDS = {"device", "devices", "dev", "devs", "gpu", "gpus", "accelerator"}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def means_device(name: str) -> bool:
    """Whether a name is by convention a device's: 'device', 'device_type', 'main_device', 'map_location'."""
    words = [w.lower() for w in _WORD.findall(name)]
    while len(words) > 1 and words[-1] in _SUFFIX:
        words.pop()
    return bool(words) and (words[-1] in _DEVICE_WORDS or words[-2:] == ["map", "location"] or words[0] == "device")


def means_backend(name: str) -> bool:
    """Whether a name is by convention a collective back end's: 'backend', 'dist_backend'."""
    return "backend" in [w.lower() for w in _WORD.findall(name)]
