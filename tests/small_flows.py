"""Small workflows that tests of turns run."""

from __future__ import annotations

ONE = """
version: '2.0'
one:
  input: [size]
  tasks:
    t:
      action: std.test_dict size=<% $.size %> key_prefix="k" val="v"
  output:
    made: <% task(t).result %>
"""
WAITS = """
version: '2.0'
waits:
  tasks:
    t:
      wait-before: 60
      action: std.noop
"""
HELD = """
version: '2.0'
held:
  tasks:
    t:
      action: std.sleep seconds=1
"""
