"""PyMySQL."""

import pymysql
from dbapi import Base
from shown import Unsupported
from pymysql.constants import CLIENT
from pymysql.cursors import SSCursor


class Driver(Base):
    errors = (pymysql.Error,)

    def connect(self, target, wanted):
        if wanted.get("compress"):
            raise Unsupported("no compression")
        more = {}
        flag = 0
        if "multi" in wanted:
            flag |= CLIENT.MULTI_STATEMENTS if wanted["multi"] else 0
        if wanted.get("found_rows"):
            flag |= CLIENT.FOUND_ROWS
        if "charset" in wanted:
            more["charset"] = wanted["charset"].replace("utf8mb3", "utf8")
        if "autocommit" in wanted:
            more["autocommit"] = wanted["autocommit"]
        if wanted.get("tls"):
            more.update(ssl={"check_hostname": False}, ssl_verify_cert=False, ssl_verify_identity=False)
        else:
            more["ssl_disabled"] = True
        # Without this PyMySQL answers to autocommit off, which other scenarios do not expect.
        more.setdefault("autocommit", True)
        return pymysql.connect(
            host="127.0.0.1", port=target["port"], user=wanted["user"], password=wanted["password"], database=wanted["schema"],
            client_flag=flag, local_infile=bool(wanted.get("local")), connect_timeout=10, read_timeout=60, **more,
        )

    def close(self, conn):
        if conn.open:
            conn.close()

    def error(self, error):
        return [*map(str, error.args)] if not error.args or not isinstance(error.args[0], int) else list(error.args)

    def thread_id(self, conn):
        return conn.thread_id()

    def after(self, cursor):
        return {"warnings": cursor.warning_count, "status": cursor.connection.server_status}

    def call(self, conn, name, args):
        answer = super().call(conn, name, args)
        marks = ", ".join(f"@_{name}_{n}" for n in range(len(args)))
        return [answer, self.query(conn, f"SELECT {marks}", [])]

    def stream(self, conn, sql):
        return self.read_stream(conn.cursor(SSCursor), sql)

    def autocommit(self, conn, on):
        conn.autocommit(on)
        return conn.get_autocommit()

    def use(self, conn, schema):
        return conn.select_db(schema)

    def ping(self, conn):
        return conn.ping(reconnect=False)
