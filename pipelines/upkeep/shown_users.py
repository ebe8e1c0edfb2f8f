"""Users that reports show as examples, without their names."""

from typing import Any

_REMOVED = "(removed)"


def hide(value: Any, user_ids: frozenset[str]) -> Any:
    """Plain values in which rows that were shown of some users name them no longer."""
    if isinstance(value, list):
        return [hide(one, user_ids) for one in value]
    if not isinstance(value, dict):
        return value
    found = {name: hide(one, user_ids) for name, one in value.items()}
    if found.get("user_id") in user_ids:
        found["user_id"] = _REMOVED
        if "targets" in found:
            found["targets"] = 0
    if "look_alikes" in found:
        example = found["look_alikes"]["example"]
        shown = [_REMOVED if one in user_ids else one for one in example]
        found["look_alikes"] = {**found["look_alikes"], "example": shown}
    return found
