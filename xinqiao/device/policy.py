"""What happens where the chip has no native kernel."""

from typing import Literal

Policy = Literal["refuse", "fallback", "allow"]
POLICIES: tuple[Policy, ...] = ("refuse", "fallback", "allow")
