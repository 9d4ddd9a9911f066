"""Rows: everything that touches the database."""
