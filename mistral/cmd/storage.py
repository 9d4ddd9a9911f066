"""The database of a process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from mistral.config import Settings
from mistral.db.database import Database
from mistral.errors import ServiceError
from mistral.service import Service


def make_database(settings: Settings) -> Database:
    """:raises ServiceError: the URL cannot be read, or names another kind."""
    try:
        return Database(settings.database.connection)
    except SQLAlchemyError as error:
        raise _unusable(error) from error


class DatabaseService(Service):
    """The pool of connections; refuses a schema of another version.

    :param own: an embedded database: it is made and upgraded here.
    """

    def __init__(self, database: Database, *, own: bool = False) -> None:
        super().__init__("database")
        self.database = database
        self._own = own

    def _start(self) -> None:
        try:
            if self._own and not self.database.has_our_schema():
                self._upgrade()
            self.database.check_schema()
        except SQLAlchemyError as error:
            raise _unusable(error) from error

    def _upgrade(self) -> None:
        if threading.active_count() > 1:
            # a copy would have their locks and not them
            self.database.create_or_upgrade()
            return
        # SQLite's connections do not survive a fork
        self.database.dispose()
        in_a_copy(self.database.create_or_upgrade)

    def _stop(self) -> None:
        self.database.dispose()


def in_a_copy(work: Callable[[], None]) -> None:
    """Do something in a copy of this process that ends with it: what it loads (10 MB
    to manage tables) is not kept. For a process with one thread.

    :raises ServiceError: it failed, with the first line of the reason.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException as error:
            os.write(writing, (str(error) or repr(error)).splitlines()[0].encode())
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        reason = told.read().decode()
    _, status = os.waitpid(child, 0)
    if status:
        raise ServiceError(f"The tables cannot be made or upgraded: {reason}")


def _unusable(error: SQLAlchemyError) -> ServiceError:
    # The first line only: the rest shows statements.
    return ServiceError(f"The database cannot be used: {str(error).splitlines()[0]}")
