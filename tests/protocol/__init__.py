"""Small models of what the service promises, searched exhaustively.

A model says what each party can do next, one atomic step at a time, and what may go
wrong at any moment. ``checker.search`` walks through every state that can come of it.
``doc/concurrency.rst`` says which code each model stands for.
"""
