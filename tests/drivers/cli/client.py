"""The command-line clients: `client.py PROGRAM…` with the target on standard input, answers on standard output.

Owns the calls of `mysql` or `mariadb` and of `mysqldump` or `mariadb-dump`. It must never judge an answer: run.py compares
what is printed of the mesh with what is printed of the server. Input: the argument lists of client and dump as JSON.
"""

import hashlib
import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
# What may differ between two runs: times, ports, connection ids, positions of the binary log.
CHANGING = re.compile(
    r"\(?\d+\.\d+ sec\)?|\(\d+ min [\d.]+ sec\)|^-- (Dump completed|Host).*$|^Connection id:.*$|^(Uptime|Threads|TCP port|UNIX socket|SSL|Server characterset).*$"
    r"|(?<=AUTO_INCREMENT=)\d+|^SET @@GLOBAL.GTID_PURGED.*?;|^Current connection id:.*$|^-- Position .*$|^(-- )?CHANGE .*$|Connection id: +\d+|(Created|Create_time|Update_time|Cardinality|Rows|Avg_row_length)=\"[^\"]*\"",
    re.MULTILINE,
)


def run(command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, timeout=60, check=False)
    out = [CHANGING.sub("…", stream.decode(errors="replace")) for stream in (done.stdout, done.stderr)]
    return [done.returncode, *out]


def shown(result):
    code, out, err = result
    if len(out) > 20_000:
        out = [len(out), hashlib.sha1(out.encode()).hexdigest()]
    return [code, out if isinstance(out, list) else out.splitlines(), err.splitlines()]


class Clients:
    """The programs, told where to connect."""

    def __init__(self, order):
        target = order["target"]
        self.kind = target["kind"]
        self.client, self.dump = order["client"], order["dump"]
        self.mariadb = "mariadb" in self.client[-1]
        where = ["--no-defaults", "--protocol=TCP", "--host=127.0.0.1", f"--port={target['port']}", f"--user={target['user']}", f"--password={target['password']}"]
        self.where = where

    def sql(self, *options, text=None, schema="drivers"):
        return run([*self.client, *self.where, *options, schema], text)

    def dumped(self, *options):
        return run([*self.dump, *self.where, *options])


def scenarios(c):
    script = (HERE / "session.sql").read_bytes()
    no_tls = ["--skip-ssl"] if c.mariadb else ["--ssl-mode=DISABLED", "--get-server-public-key"]
    tls = ["--ssl"] if c.mariadb else ["--ssl-mode=REQUIRED"]
    yield "a session of statements", lambda: c.sql("--force", "-vvv", "--table", "--default-character-set=utf8mb4", text=script)
    yield "the same without TLS", lambda: c.sql(*no_tls, "--force", "--batch", "--default-character-set=utf8mb4", text=script)
    yield "the same over TLS and compressed", lambda: c.sql(*tls, "--compress", "--force", "--xml", "--default-character-set=utf8mb4", text=script)
    if not c.mariadb and c.kind == "mysql":
        yield "zstd", lambda: c.sql("--compression-algorithms=zstd", "--force", "--batch", text=script)
    yield "one statement", lambda: c.sql("-e", "SELECT 1; SELECT COUNT(*) FROM numbers_a")
    yield "types of columns", lambda: c.sql("--column-type-info", "-e", "SELECT * FROM types_a; SELECT n, name FROM numbers_a LIMIT 1")
    yield "a statement that fails", lambda: c.sql("-e", "SELECT * FROM missing; SELECT 1")
    yield "names for completion", lambda: c.sql("--auto-rehash", "-e", "SELECT 1")
    yield "init command", lambda: c.sql("--init-command=SET sql_select_limit=2", "-e", "SELECT n FROM numbers_a ORDER BY n")
    yield "unbuffered", lambda: c.sql("--quick", "-e", "SELECT a.n, b.n FROM numbers_a a JOIN numbers_a b ON b.n <= 20 ORDER BY 1, 2")
    yield "safe updates", lambda: c.sql("--safe-updates", "-e", "SELECT @@sql_select_limit, @@max_join_size, @@sql_safe_updates; DELETE FROM items_a")
    yield "reset", lambda: c.sql("-e", "SET @v = 1; SELECT @v; \\x SELECT @v; SELECT DATABASE();") if not c.mariadb else [0, "", ""]
    yield "unknown schema", lambda: c.sql("-e", "SELECT 1", schema="missing_schema")
    yield "status", lambda: c.sql("-e", "status")
    dump = ["--skip-comments", "--default-character-set=utf8mb4"]
    extra = [] if c.mariadb else ["--set-gtid-purged=OFF", "--no-tablespaces"]
    if not c.mariadb and c.kind == "mariadb":
        extra.append("--column-statistics=0")
    yield "dump", lambda: c.dumped(*dump, *extra, "--routines", "--triggers", "--events", "--hex-blob", "drivers")
    yield "dump in one transaction", lambda: c.dumped(*dump, *extra, "--single-transaction", "--skip-extended-insert", "drivers", "items_a", "numbers_a", "types_a")
    yield "dump of all locked", lambda: c.dumped(*dump, *extra, "--lock-all-tables", "--databases", "drivers", "drivers_other")
    yield "dump as XML", lambda: c.dumped(*dump, *extra, "--xml", "drivers", "items_a")
    yield "dump and restore", lambda: restored(c, dump + extra)


def restored(c, options):
    """The dump of a schema that was restored from a dump, both through the target."""
    options = [*options, "--routines", "--triggers", "--hex-blob"]
    first = run([*c.dump, *c.where, *options, "drivers"])
    raw = subprocess.run([*c.dump, *c.where, *options, "drivers"], capture_output=True, timeout=60, check=True).stdout
    made = c.sql("-e", "DROP DATABASE IF EXISTS drivers_new_a; CREATE DATABASE drivers_new_a CHARACTER SET utf8mb4")
    loaded = c.sql("--default-character-set=utf8mb4", text=raw.replace(b"`drivers`", b"`drivers_new_a`"), schema="drivers_new_a")
    second = run([*c.dump, *c.where, *options, "drivers_new_a"])
    c.sql("-e", "DROP DATABASE drivers_new_a")
    same = first[1].replace("`drivers`", "`drivers_new_a`") == second[1]
    return [0 if same else 1, "\n".join(["equal" if same else "different", str(made), str(loaded)]), ""]


def main():
    clients = Clients(json.load(sys.stdin))
    for name, play in scenarios(clients):
        print(json.dumps({"scenario": name, "session": "a", "step": 0, "answer": shown(play())}), flush=True)


if __name__ == "__main__":
    main()
