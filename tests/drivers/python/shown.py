"""How answers are shown, and the one exception that drivers and the play share."""

import hashlib
import json

# Without one of these the rest of a scenario is about nothing.
ENDS_WITHOUT = {"reset", "change_user"}


class Unsupported(Exception):
    """The driver has no such operation, or the build of it that is installed."""


def shown(value):
    """A value as JSON that keeps its type; long ones by length and digest."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, (bytes, bytearray)):
        text = "bytes:" + bytes(value).hex()
    else:
        text = type(value).__name__ + ":" + (value if isinstance(value, str) else repr(value))
    if isinstance(value, set):
        text = "set:" + ",".join(sorted(value))
    if len(text) > 300:
        text = f"{text[:20]}… {len(text)} {hashlib.sha1(text.encode(errors='surrogatepass')).hexdigest()}"
    return text


def shown_rows(rows):
    rows = [[shown(value) for value in row] for row in rows]
    if len(rows) > 60:
        return {"rows": len(rows), "sha1": hashlib.sha1(json.dumps(rows).encode()).hexdigest(), "first": rows[0]}
    return rows
