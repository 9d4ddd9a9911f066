"""Definitions that tests of several files upload."""

WORKBOOK = """\
version: '2.0'
name: {}
tags: [boxed]
actions:
  shout:
    base: std.echo
    base-input: {{output: <% $.text.toUpper() %>}}
    input: [text]
workflows:
  run:
    tasks:
      t: {{action: shout text="a"}}
"""
