"""Pure functions from data to a matplotlib ``Figure``, and the plain-Python models behind the widgets."""
