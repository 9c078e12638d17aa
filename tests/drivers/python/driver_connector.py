"""mysql-connector-python, the part written in Python."""

import mysql.connector
from dbapi import Base
from mysql.connector.constants import ClientFlag
from shown import shown_rows


class Driver(Base):
    errors = (mysql.connector.Error,)
    pure = True

    def connect(self, target, wanted):
        more = {}
        flags = []
        if "multi" in wanted and not wanted["multi"]:
            flags.append(-ClientFlag.MULTI_STATEMENTS)
        flags.append(ClientFlag.FOUND_ROWS if wanted.get("found_rows") else -ClientFlag.FOUND_ROWS)
        if "charset" in wanted:
            more["charset"] = wanted["charset"].replace("utf8mb3", "utf8")
        if wanted["schema"] is not None:
            more["database"] = wanted["schema"]
        conn = mysql.connector.connect(
            host="127.0.0.1", port=target["port"], user=wanted["user"], password=wanted["password"], use_pure=self.pure,
            client_flags=flags, allow_local_infile=bool(wanted.get("local")), autocommit=wanted.get("autocommit", True),
            ssl_disabled=not wanted.get("tls"), compress=bool(wanted.get("compress")), connection_timeout=10, **more,
        )
        return conn

    def error(self, error):
        return [error.errno, error.sqlstate, error.msg]

    def thread_id(self, conn):
        return conn.connection_id

    def close_cursor(self, cursor):
        try:
            cursor.close()
        except mysql.connector.Error:
            pass

    def after(self, cursor):
        return {"warnings": cursor.warning_count}

    def prepared(self, conn, sql, args):
        cursor = conn.cursor(prepared=True)
        try:
            cursor.execute(sql, args)
            return self.answer(cursor)
        finally:
            self.close_cursor(cursor)

    def prepare(self, conn, sql):
        # The driver prepares at the first run.
        return conn.cursor(prepared=True), sql

    def run(self, kept, step, args):
        cursor, sql = kept
        cursor.execute(sql, args)
        return self.answer(cursor)

    def release(self, kept):
        self.close_cursor(kept[0])

    def cursor(self, conn, sql, args, size):
        cursor = conn.cursor(prepared=True)
        try:
            cursor.execute(sql, args)
            rows = []
            while True:
                some = cursor.fetchmany(size)
                if not some:
                    return shown_rows(rows)
                rows.extend(some)
        finally:
            self.close_cursor(cursor)

    def call(self, conn, name, args):
        cursor = conn.cursor()
        try:
            out = cursor.callproc(name, args)
            return [self.plain(out), [shown_rows(r.fetchall()) for r in cursor.stored_results()]]
        finally:
            self.close_cursor(cursor)

    def plain(self, out):
        return shown_rows([list(out.values()) if isinstance(out, dict) else list(out)])

    def stream(self, conn, sql):
        return self.read_stream(conn.cursor(buffered=False), sql)

    def begin(self, conn):
        return conn.start_transaction()

    def autocommit(self, conn, on):
        conn.autocommit = on
        return conn.autocommit

    def use(self, conn, schema):
        conn.database = schema
        return conn.database

    def ping(self, conn):
        return conn.ping(reconnect=False)

    def reset(self, conn):
        return conn.reset_session()

    def change_user(self, conn, target, schema):
        return conn.cmd_change_user(target["user"], target["password"], schema)
