"""mysql-connector-python over its C extension."""

import driver_connector


class Driver(driver_connector.Driver):
    pure = False
