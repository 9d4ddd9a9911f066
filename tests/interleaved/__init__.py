"""Two engines, one in the middle of the other: see ``engine/test_interleavings.py``."""
