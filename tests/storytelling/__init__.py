"""Stories: a workflow, what its actions answer, and what must come of it.

``tests/stories/*.yaml`` holds them; ``tests/test_stories.py`` tells each one
three ways. How to write one: ``doc/contributor.rst``, "A story".

* ``story``: the text of a story, read and checked;
* ``cast``: actions ``story.do`` and ``story.ask``, which answer by its script;
* ``stages``: what a story needs of one; ``core_stage``: the pure core;
  ``database_stages``: one process, PostgreSQL with RabbitMQ;
* ``telling``: the steps, one after the other;
* ``findings``: what is expected beside what is found.
"""
