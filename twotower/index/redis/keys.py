"""Names of indexes and keys in Redis, chosen for clusters: what stands in braces decides the slot, and so the node.

A build's index is called `{<alias>}:<random>`, its documents `doc:{<alias>}:<random>:<doc_id>`, and its lock and notes
carry `{<alias>}` too. By default, then, all of an alias lies in one slot (that of the alias itself, as a cluster counts
the names of indexes as keys): commands over several keys are allowed, an index lies whole on one node, and a cluster
carries many indexes side by side. An index larger than a node is spread by `hash_tags=n`: document r has the tag
`{<alias>#<r mod n>}`, so its keys take up to n slots and the nodes share them; such an index is searched through an
endpoint that asks every node (Redis Enterprise, Redis Cloud, Redis 8's query engine in cluster mode).
"""

from __future__ import annotations

import secrets


def new_version(alias: str) -> str:
    """Returns a fresh name for a build under an alias."""
    return f"{{{alias}}}:{secrets.token_hex(6)}"


def is_version(name: str, alias: str) -> bool:
    """Tells whether an index of this name is a build under an alias."""
    return name.startswith(f"{{{alias}}}:")


def _parts(version: str) -> tuple[str, str]:
    tag, _, build = version.rpartition(":")
    return tag[1:-1], build


def prefixes(version: str, hash_tags: int) -> list[str]:
    """Returns the prefixes of a build's document keys, that of document r at r modulo their number.

    Args:
        version: the build's name.
        hash_tags: over how many slots it is spread; 1 for one slot.
    """
    alias, build = _parts(version)
    tags = [alias] if hash_tags == 1 else [f"{alias}#{number}" for number in range(hash_tags)]
    return [f"doc:{{{tag}}}:{build}:" for tag in tags]


def lock_key(alias: str) -> str:
    """Returns the key that lets one export at a time write under an alias."""
    return f"twotower:{{{alias}}}:lock"


def rows_key(version: str) -> str:
    """Returns the key that counts the documents a build has surely sent."""
    alias, build = _parts(version)
    return f"twotower:{{{alias}}}:rows:{build}"


def patterns(version: str) -> list[str]:
    """Returns the glob patterns that match all document keys of a build, spread or not."""
    alias, build = map(_literal, _parts(version))
    return [f"doc:{{{alias}}}:{build}:*", f"doc:{{{alias}#*}}:{build}:*"]


def slot_tag(key: bytes) -> bytes:
    """Returns the part of a key that decides its slot."""
    start = key.find(b"{")
    end = key.find(b"}", start + 1)
    return key[start + 1 : end] if 0 <= start < end - 1 else key


def _literal(text: str) -> str:
    return "".join(f"\\{c}" if c in "*?[]^\\" else c for c in text)
