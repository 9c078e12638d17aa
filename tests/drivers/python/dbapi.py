"""What the Python drivers have in common: DB-API cursors and how their answers are shown."""

from shown import Unsupported, shown, shown_rows


class Base:
    """A driver through the DB-API."""

    def placeholders(self, sql, args):
        return sql.replace("%", "%%").replace("?", "%s") if args else sql

    def close(self, conn):
        conn.close()

    def answers(self, cursor):
        """All results of a statement."""
        results = []
        while True:
            results.append(self.answer(cursor))
            if len(results) > 20 or not cursor.nextset():
                break
        return {"results": results, **self.after(cursor)}

    def answer(self, cursor):
        if cursor.description is None:
            return {"affected": cursor.rowcount, "id": cursor.lastrowid}
        columns = [[shown(part) for part in column[:7]] for column in cursor.description]
        if len(columns) > 60:
            columns = [len(columns), columns[-1]]
        return {"columns": columns, "rows": shown_rows(cursor.fetchall()), "affected": cursor.rowcount}

    def after(self, cursor):
        return {}

    def query(self, conn, sql, args):
        cursor = conn.cursor()
        try:
            cursor.execute(sql, args or None)
            return self.answers(cursor)
        finally:
            self.close_cursor(cursor)

    def close_cursor(self, cursor):
        cursor.close()

    def batch(self, conn, sql, rows):
        cursor = conn.cursor()
        try:
            cursor.executemany(sql, rows)
            return {"affected": cursor.rowcount, "id": cursor.lastrowid}
        finally:
            self.close_cursor(cursor)

    def call(self, conn, name, args):
        cursor = conn.cursor()
        try:
            cursor.callproc(name, args)
            return self.answers(cursor)
        finally:
            self.close_cursor(cursor)

    def begin(self, conn):
        return conn.begin()

    def prepared(self, conn, sql, args):
        raise Unsupported("no statements prepared on the server")

    def prepare(self, conn, sql):
        raise Unsupported("no statements prepared on the server")

    def cursor(self, conn, sql, args, size):
        raise Unsupported("no cursors on the server")

    def change_user(self, conn, target, schema):
        raise Unsupported("no change of user")

    def reset(self, conn):
        raise Unsupported("no reset")

    def read_stream(self, cursor, sql):
        try:
            cursor.execute(sql)
            rows = []
            while True:
                some = cursor.fetchmany(17)
                if not some:
                    break
                rows.extend(some)
            return shown_rows(rows)
        finally:
            self.close_cursor(cursor)
