"""Runs code that says `import imitation`: that name stands for this library once this package is imported.

::

    import imitation_lab.compat  # before the first import of imitation

    from imitation.algorithms import bc  # this library's

An unmodified script: `python -m imitation_lab.compat SCRIPT [ARGUMENT…]`, or `-m MODULE` in place of the script. To
change the imports for good: `imitation-lab port FILE…`. What behaves differently is told in docs/migration.md.
"""

from imitation_lab.compat.alias import install as _install
from imitation_lab.util.doors import door

_install()

__getattr__, __dir__ = door(__name__)
