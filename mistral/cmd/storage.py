"""The database of a process."""

from __future__ import annotations

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
            if self._own:
                self.database.create_or_upgrade()
            self.database.check_schema()
        except SQLAlchemyError as error:
            raise _unusable(error) from error

    def _stop(self) -> None:
        self.database.dispose()


def _unusable(error: SQLAlchemyError) -> ServiceError:
    # The first line only: the rest shows statements.
    return ServiceError(f"The database cannot be used: {str(error).splitlines()[0]}")
