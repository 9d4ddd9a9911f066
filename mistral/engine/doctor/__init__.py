"""What must hold in the database, looked at while the service works."""
