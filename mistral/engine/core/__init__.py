"""The law: decides what an event means, and reaches for nothing."""
