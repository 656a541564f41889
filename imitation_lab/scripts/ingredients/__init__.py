"""Groups of configuration keys that experiments share, each a dataclass that does its part of the work."""
