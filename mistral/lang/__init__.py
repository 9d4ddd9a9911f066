"""The workflow language v2: from text to immutable specs."""
