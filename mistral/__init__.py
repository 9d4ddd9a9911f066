"""Workflow service: workflows written in YAML, run over REST, never lost."""
