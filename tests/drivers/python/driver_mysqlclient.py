"""mysqlclient: MariaDB's C connector from Python."""

import MySQLdb
from dbapi import Base
from MySQLdb.constants import CLIENT
from MySQLdb.cursors import SSCursor


class Driver(Base):
    errors = (MySQLdb.Error,)

    def connect(self, target, wanted):
        more = {}
        flag = 0
        if "multi" in wanted:
            more["multi_statements"] = wanted["multi"]
        if wanted.get("found_rows"):
            flag |= CLIENT.FOUND_ROWS
        if "charset" in wanted:
            more["charset"] = wanted["charset"].replace("utf8mb3", "utf8")
        if wanted["schema"] is not None:
            more["database"] = wanted["schema"]
        if wanted.get("compress"):
            more["compress"] = True
        if wanted.get("tls"):
            more["ssl_mode"] = "REQUIRED"
        return MySQLdb.connect(
            host="127.0.0.1", port=target["port"], user=wanted["user"], password=wanted["password"], client_flag=flag,
            local_infile=int(bool(wanted.get("local"))), autocommit=wanted.get("autocommit", True), connect_timeout=10, **more,
        )

    def close(self, conn):
        if conn.open:
            conn.close()

    def error(self, error):
        return list(error.args)

    def thread_id(self, conn):
        return conn.thread_id()

    def after(self, cursor):
        return {"info": cursor._info} if hasattr(cursor, "_info") else {}

    def stream(self, conn, sql):
        return self.read_stream(conn.cursor(SSCursor), sql)

    def autocommit(self, conn, on):
        conn.autocommit(on)
        return conn.get_autocommit()

    def use(self, conn, schema):
        return conn.select_db(schema)

    def ping(self, conn):
        return conn.ping()

    def change_user(self, conn, target, schema):
        return conn.change_user(target["user"], target["password"], schema)

    def call(self, conn, name, args):
        answer = super().call(conn, name, args)
        marks = ", ".join(f"@_{name}_{n}" for n in range(len(args)))
        return [answer, self.query(conn, f"SELECT {marks}", [])]
