"""``mistralctl``: the service from a terminal. It speaks REST only."""
