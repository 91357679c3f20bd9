"""A figure that no source states. Whoever asks for a time gets its name, never a guess."""


class Unknown(Exception):
    """`str()` names the missing fact: 'memory bandwidth of a chip: not found anywhere'."""
