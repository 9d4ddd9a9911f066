"""The engine: the only writer of executions."""
