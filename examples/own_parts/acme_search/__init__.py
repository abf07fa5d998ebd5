"""Parts for twotower that live in a package of their own; docs/own_parts.md tells what each kind needs."""
