"""Names of parts of a network -> slices of its weights, derived from the module tree.

`list(model)` says what the names are, `resolve(model, name)` which weights a name stands for, and
`slug(name)` what it is called on disk.
"""

from creode.components.catalogue import Component, Components
from creode.components.resolving import list_components as list
from creode.components.resolving import resolve
from creode.components.selection import Selection
from creode.components.slugs import slug

__all__ = ["Component", "Components", "Selection", "list", "resolve", "slug"]
