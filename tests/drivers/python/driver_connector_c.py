"""mysql-connector-python over its C extension."""

import _mysql_connector
import driver_connector
import mysql.connector


class Driver(driver_connector.Driver):
    pure = False
    # An error of a later result comes as the extension's own class.
    errors = (mysql.connector.Error, _mysql_connector.MySQLInterfaceError)

    def error(self, error):
        return [error.errno, error.sqlstate, str(error.msg)]
