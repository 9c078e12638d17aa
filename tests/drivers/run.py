#!/usr/bin/env python3
"""Drivers of other languages, each against the server and through dbmesh, answer by answer.

Owns the list of drivers and the verdict. It must never pass over a driver that is missing: what cannot be installed is a
failure that says what to do. Its input is the environment that `cargo xtask test` sets (see xtask/src/test/drivers.rs);
arguments choose drivers by name, `--scenario TEXT` scenarios whose name contains it, `--quick` what is run for every
change. Its last line is `N passed, N failed`.
"""

import argparse
import collections
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import install  # noqa: E402
import mesh  # noqa: E402
import scenarios  # noqa: E402
import sharded  # noqa: E402

SECONDS_MAX = int(os.environ.get("DBMESH_TEST_SECONDS", "240"))
DIFFERENCES_SHOWN = 12
DIFFERENCES_OF_ONE = 40 if os.environ.get("DBMESH_TEST_KEEP") else 3

# `lacks`: scenarios in which the driver fails by itself, or which dbmesh does not serve, with the reason;
# `name@kind` for one kind of server only. `pools`: the sizes of pool that can serve its two sessions.
Driver = collections.namedtuple("Driver", "name command lacks more kinds wide pools", defaults=[None, ("mysql", "mariadb"), False, (1, 2)])
# A driver with `more` is a program with scenarios of its own; `more` gives what it is told beside the target.
OUT_OF_STEP = {"load data local of a missing file": "it leaves its own connection out of step"}
BINARY_TIMES = {"types prepared": "it cannot read a binary TIME of more than 34 days or a zero-length one"}
NO_KEY = {"wrong password@mysql": "without TLS it asks the server for no key, which dbmesh does not need to say no", "wrong user@mysql": "the same"}
BULK = dict.fromkeys(
    ("batch@mariadb", "shards: batches@mariadb", "shards: ids are generated@mariadb"),
    "COM_STMT_BULK_EXECUTE is not offered: the driver runs the statements one by one",
)
# docs/sessions.md: `diagnostics`.
CACHED = dict.fromkeys(("row count", "found rows"), "its cache keeps a prepared statement open that reads diagnostics, which pins")
NO_KEY_J = {"wrong user@mysql": "it gives up at the plugin that the server shows for unknown users"}
GO = {
    **dict.fromkeys(
        ["TestTLS", *(f"TestTLS/{how}{n}" for how in ("default", "interpolateParams", "compress") for n in ("#01", "#02"))],
        "it asks the server for its own connection's cipher: that is the one between dbmesh and the server",
    ),
    "TestConnectionAttributes": "attributes are of one client, and connections are shared",
    **dict.fromkeys(
        [f"TestContextCancel{what}/default@mariadb" for what in ("StmtQuery", "StmtExec", "Query", "Exec")],
        "a statement whose client has left is cancelled; MariaDB alone would finish it",
    ),
}
TWO_FRAMES = {"compressed rows of 300 kB": "it waits for ever when a packet spans more than two compressed frames"}


def python_play(name, begin=lambda: [str(install.python())], lacks=None):
    return Driver(name, lambda: [*begin(), str(HERE / "python/play.py"), name], lacks or {})


def node_play(name, lacks=None):
    """A driver of Node. Programs are copied beside the drivers: Node looks for those where the program is."""
    return Driver(name, lambda: node_program("play.js", name), lacks or {})


def node_program(script, *args):
    folder = install.node()
    for source in (HERE / "node").glob("*.js"):
        shutil.copy(source, folder)
    return ["node", str(folder / script), *args]


def java_play(name, which, lacks=None, kinds=("mysql", "mariadb")):
    return Driver(name, lambda: ["java", "-Xmx1g", "-cp", install.java(), "Play", which], lacks or {}, kinds=kinds)


def program(name, command, more=dict, lacks=None, kinds=("mysql", "mariadb"), wide=False):
    """Something with scenarios of its own; `wide`: through the mesh that the tests' harness has started."""
    return Driver(name, command, lacks or {}, more, kinds, wide)


DRIVERS = [
    python_play("pymysql"),
    python_play("mysqlclient", install.mysqlclient),
    python_play("connector", lacks=OUT_OF_STEP | TWO_FRAMES | BINARY_TIMES | {"wrong user@mysql": NO_KEY["wrong user@mysql"]}),
    python_play("connector_c", lacks=NO_KEY),
    node_play("mysql2"),
    node_play("mariadb", lacks=BULK),
    Driver("go", lambda: [str(install.go())], {}),
    java_play("connector_j", "mysql", kinds=("mysql",)),
    java_play("mariadb_j", "mariadb", lacks=BULK | CACHED | NO_KEY_J),
    Driver("php mysqli", lambda: [*install.php(), str(HERE / "php/play.php"), "mysqli"], {}),
    Driver("php pdo", lambda: [*install.php(), str(HERE / "php/play.php"), "pdo"], {}),
    Driver("perl mysql", lambda: [*install.perl(), str(HERE / "perl/play.pl"), "mysql"], {}),
    # It sets character_set_server and collation_server when it connects, which pinned once; a pool of one was not tried since.
    Driver("perl mariadb", lambda: [*install.perl(), str(HERE / "perl/play.pl"), "MariaDB"], {}, pools=(2,)),
    program("sqlalchemy pymysql", lambda: [str(install.python()), str(HERE / "python/orm.py"), "pymysql"]),
    program("sqlalchemy mysqldb", lambda: [*install.mysqlclient(), str(HERE / "python/orm.py"), "mysqldb"]),
    program("sqlalchemy shards", lambda: [str(install.python()), str(HERE / "python/orm_shards.py"), "pymysql"]),
    program("django", lambda: [*install.mysqlclient(), str(HERE / "django/play.py"), "shop"]),
    program("django store", lambda: [*install.mysqlclient(), str(HERE / "django/play.py"), "store"]),
    program("sequelize mysql2", lambda: node_program("sequelize.js", "mysql")),
    program("sequelize mariadb", lambda: node_program("sequelize.js", "mariadb")),
    program("go's own tests", lambda: [str(install.python()), str(HERE / "go/suite.py")], lambda: {"go": install.program("go", "install Go")}, lacks=GO, wide=True),
    program("mysql CLI", lambda: [str(install.python()), str(HERE / "cli/client.py")], install.mysql_clients, kinds=("mysql",), wide=True),
    program("mariadb CLI", lambda: [str(install.python()), str(HERE / "cli/client.py")], install.mariadb_clients, wide=True),
]


# How sessions take turns, and the size of pool that must do for it.
RUNS = (("between holds", 1), ("always", 2))

# What runs for every change: one driver of each family of implementations, in a pool of one connection, without the
# scenarios that move many megabytes or wait for a clock.
QUICK = ("pymysql", "mysqlclient", "mysql2", "mariadb", "go", "php mysqli", "php pdo", "perl mysql", "mysql CLI", "mariadb CLI")
NOT_QUICK = ("20 MB", "a row of", "many rows", "kill of", "many prepared statements")


class Bench:
    """What the runs share: the server, two meshes with small pools, the environment."""

    def __init__(self, env):
        self.kind = env["DBMESH_TEST_KIND"]
        self.user, self.password = env["DBMESH_TEST_USER"], env["DBMESH_TEST_PASSWORD"]
        self.direct, self.wide = int(env["DBMESH_TEST_DIRECT_PORT"]), int(env["DBMESH_TEST_MESH_PORT"])
        self.binary = env["DBMESH_BIN"]
        self.meshes, self.runs, self.quick = {}, RUNS, QUICK
        self.folder = tempfile.TemporaryDirectory(prefix="dbmesh-drivers-")
        self.file = pathlib.Path(self.folder.name) / "load.tsv"
        self.file.write_text("".join(f"{n}\tline {n} ü\n" for n in range(5000)), encoding="utf-8")

    def mesh(self, pool):
        one = self.meshes.get(pool)
        if one is None or not one.alive():
            one = mesh.Mesh(self.binary, pool, lambda port: mesh.one_server(port, self.user, self.password, pool, self.kind, self.direct))
            self.meshes[pool] = one
        return one

    def through(self, driver, pool):
        """The mesh that a driver's program talks to, and its port."""
        own = None if driver.wide else self.mesh(pool)
        return own, own.port if own else self.wide

    def scenarios(self):
        return scenarios.all_of(self.kind, str(self.file))

    def plays(self, driver):
        return driver.name not in sharded.ONLY_HERE

    def is_quick(self, scenario):
        return not scenario.startswith(NOT_QUICK)

    def lacks(self, driver):
        return {name.removesuffix(f"@{self.kind}") for name in driver.lacks}

    def close(self):
        for one in self.meshes.values():
            one.close()
        self.folder.cleanup()

    def prepare(self, _meshed):
        """The schema as every run finds it, made on the server itself."""
        self.judge(self.tables())

    def tables(self):
        script = (HERE / "schema.sql").read_text(encoding="utf-8").splitlines()
        return [line for line in script if line and not line.startswith("--")]

    def judge(self, tables):
        start = [f"DROP DATABASE IF EXISTS {name}" for name in ("drivers_new_a", "drivers_new_b", "drivers_other", "drivers", "drivers_django", "test_drivers_django")]
        start += [
            "CREATE DATABASE drivers_django CHARACTER SET utf8mb4", "CREATE DATABASE IF NOT EXISTS gotest CHARACTER SET utf8mb4",
            "CREATE DATABASE drivers CHARACTER SET utf8mb4", "CREATE DATABASE drivers_other CHARACTER SET utf8mb4",
            "CREATE TABLE drivers_other.only_other (id INT PRIMARY KEY, name VARCHAR(20))",
            "INSERT INTO drivers_other.only_other VALUES (1, 'other')", "CREATE TABLE drivers_other.items_a (id INT)",
            "CREATE TABLE drivers_other.items_b (id INT)",
        ]
        self.execute(self.direct, start + self.made(tables))

    def made(self, tables):
        return ["USE drivers", "SET NAMES utf8mb4", *(line.replace("{s}", s) for s in ("a", "b") for line in tables)]

    def execute(self, port, statements):
        code = (
            "import json, sys, pymysql\n"
            "o = json.load(sys.stdin)\n"
            "c = pymysql.connect(host='127.0.0.1', port=o['port'], user=o['user'], password=o['password'], autocommit=True)\n"
            "k = c.cursor()\n"
            "for s in o['statements']: k.execute(s)\n"
        )
        order = {"port": port, "user": self.user, "password": self.password, "statements": statements}
        subprocess.run([str(install.python()), "-c", code], input=json.dumps(order).encode(), check=True, timeout=60)

    def told(self, answer):
        """An answer as it is compared."""
        return answer

    def judged(self, _direct, meshed):
        """The answers of the mesh as they are compared with the server's."""
        return meshed

    def target(self, port, _meshed):
        return {"port": port, "direct": self.direct, "user": self.user, "password": self.password, "kind": self.kind}


class Sharded(Bench):
    """The same before a sharded service, which is made anew, with its tables, for every program: so generated ids begin alike."""

    # A statement over shards takes several connections, and one more finishes what has to be in one place.
    POOL = 8

    def __init__(self, env):
        super().__init__(env)
        self.node = int(env["DBMESH_TEST_NODE_PORT"])
        self.runs, self.quick = (("always", self.POOL),), sharded.QUICK[self.kind]
        if self.kind == "mysql":
            # What several nodes commit as one has to last: else dbmesh refuses it.
            for port in (self.direct, self.node):
                self.execute(port, ["SET GLOBAL sync_binlog = 1", "SET GLOBAL innodb_flush_log_at_trx_commit = 1"])

    def mesh(self, pool):
        return self.meshes[pool]

    def through(self, driver, pool):
        self.restart()
        return self.meshes[self.POOL], self.meshes[self.POOL].port

    def restart(self):
        if self.POOL in self.meshes:
            self.meshes.pop(self.POOL).close()
        for port, name in zip((self.direct, self.node), sharded.NODES):
            self.execute(port, [f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name} CHARACTER SET utf8mb4"])
        def text(port):
            return sharded.config(port, self.user, self.password, self.POOL, self.kind, self.direct, self.node)
        self.meshes[self.POOL] = mesh.Mesh(self.binary, self.POOL, text)

    def scenarios(self):
        return sharded.all_of(self.kind, str(self.file))

    def plays(self, driver):
        return driver.name not in sharded.DRIVERS_NOT_HERE

    def is_quick(self, scenario):
        return scenario.startswith("shards: ")

    def lacks(self, driver):
        return super().lacks(driver) | set(sharded.LACKS.get(driver.name.split(" ")[0], ()))

    def prepare(self, meshed):
        tables = [line for line in self.tables() if not line.startswith(sharded.ROUTINES)] + list(sharded.TABLES)
        if meshed:
            self.execute(self.meshes[self.POOL].port, self.made(tables))
        else:
            self.judge(tables)

    def told(self, answer):
        """Errors of several shards say which failed, behind the server's own words: docs/sharding.md."""
        return sharded.without_place(answer)

    def judged(self, direct, meshed):
        """MariaDB promises no commit of all or none over several servers: dbmesh says so in a note, as docs/transactions.md has it."""
        return meshed if self.kind == "mysql" else sharded.without_note(direct, meshed)

    def target(self, port, meshed):
        return super().target(port, meshed) | ({"direct": port} if meshed else {})


def play(bench, command, chosen, port, turns, more):
    """Runs a driver's program; what it printed, by scenario, and what it said when it failed."""
    meshed = port != bench.direct
    bench.prepare(meshed)
    order = {"scenarios": chosen, "target": bench.target(port, meshed), "turns": turns, **more}
    try:
        done = subprocess.run(command, input=json.dumps(order).encode(), capture_output=True, timeout=SECONDS_MAX, check=False)
        out, problem = done.stdout, done.stderr.decode(errors="replace")[-2000:] if done.returncode else None
    except subprocess.TimeoutExpired as late:
        out, problem = late.stdout or b"", f"not done after {SECONDS_MAX} s"
    rows_only = {(s["name"], i) for s in chosen for i, step in enumerate(s["steps"]["a"]) if step.get("rows_only")}
    answers = collections.OrderedDict()
    for line in out.decode(errors="replace").splitlines():
        if line.startswith("{"):
            record = json.loads(line)
            key = (record["session"], record["step"])
            answer = bench.told(record["answer"])
            if (record["scenario"], record["step"]) in rows_only and "results" in answer:
                answer = [result.get("rows") for result in answer["results"]]
            answers.setdefault(record["scenario"], collections.OrderedDict())[key] = answer
    return answers, problem


class Tally:
    """Passed and failed, and what to say of it."""

    def __init__(self):
        self.rows, self.differences = [], []

    def add(self, driver, passed, failed, note, seconds):
        self.rows.append((driver, passed, failed, note, seconds))


def compare(name, turns, direct, meshed, chosen, tally):
    """Counts the scenarios that a driver played alike."""
    passed = failed = unsupported = 0
    for scenario in chosen:
        one, other = direct.get(scenario["name"]), meshed.get(scenario["name"])
        if not one or any(isinstance(a, dict) and ("raised" in a or "failed" in a) for a in one.values()):
            failed += 1
            tally.differences.append(f"{name}: {scenario['name']}: no answers from the server itself, or a failure there: {list((one or {}).values())[:1]}")
            continue
        unsupported += sum(1 for a in one.values() if isinstance(a, dict) and "unsupported" in a)
        if one == other:
            passed += 1
            continue
        failed += 1
        tally.differences.extend(differences(f"{name} ({turns})", scenario, one, other or {}))
    return passed, failed, unsupported


def differences(name, scenario, one, other):
    shown = 0
    for key, answer in one.items():
        if other.get(key) == answer:
            continue
        session, index = key
        step = scenario["steps"][session][index] if "steps" in scenario else {}
        what = step.get("sql") or {k: v for k, v in step.items() if k != "hold"}
        ours, theirs = apart(answer, other.get(key, "no answer"))
        yield f"{name}: {scenario['name']}: {session}{index} {str(what)[:160]}\n    server: {ours}\n    mesh:   {theirs}"
        shown += 1
        if shown >= DIFFERENCES_OF_ONE:
            break


def apart(one, other, path=""):
    """Where two answers differ first, and how."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            if one[key] != other[key]:
                return apart(one[key], other[key], f"{path}.{key}")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other)):
            if pair[0] != pair[1]:
                return apart(*pair, f"{path}[{index}]")
    return tuple(f"{path} {json.dumps(value, ensure_ascii=False)}"[:300].strip() for value in (one, other))


def try_driver(bench, driver, every, tally):
    began = time.monotonic()
    try:
        command = driver.command()
        more = driver.more() if driver.more else {}
    except (install.Missing, subprocess.SubprocessError, OSError) as why:
        tally.differences.append(f"{driver.name}: missing: {why}")
        return tally.add(driver.name, 0, 1, "missing", 0)
    passed = failed = unsupported = 0
    lacks = bench.lacks(driver)
    for turns, pool in bench.runs if driver.more is None or isinstance(bench, Sharded) else RUNS[1:]:
        if pool not in driver.pools and pool < 3:
            continue
        chosen = [s for s in every if min(pool, 2) in s["pools"] and s["name"] not in lacks] if driver.more is None else []
        direct, problem = play(bench, command, chosen, bench.direct, turns, more)
        if problem:
            failed += 1
            tally.differences.append(f"{driver.name}: against the server itself: {problem}")
        own, port = bench.through(driver, pool)
        meshed, problem = play(bench, command, chosen, port, turns, more)
        if problem or (own and not own.alive()):
            failed += 1
            tally.differences.append(f"{driver.name}: through dbmesh: {problem}\n{own.tail() if own else ''}")
        chosen = chosen or [{"name": name} for name in direct if name not in lacks]
        counts = compare(driver.name, turns, direct, bench.judged(direct, meshed), chosen, tally)
        passed, failed, unsupported = passed + counts[0], failed + counts[1], unsupported + counts[2]
    note = f"{unsupported // 2} steps the driver lacks" if unsupported else ""
    return tally.add(driver.name, passed, failed, note, time.monotonic() - began)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("drivers", nargs="*", help="only those whose name begins with one of these")
    parser.add_argument("--quick", action="store_true", help="what is run for every change")
    parser.add_argument("--sharded", action="store_true", help="before a sharded service")
    parser.add_argument("--scenario", default="", help="only scenarios whose name contains this")
    options = parser.parse_args()
    try:
        bench = (Sharded if options.sharded else Bench)(os.environ)
    except KeyError as name:
        raise SystemExit(f"drivers: {name} is not set; `cargo xtask test --only drivers` sets it") from None
    chosen_drivers = [d for d in DRIVERS if bench.plays(d) and bench.kind in d.kinds and (not options.drivers or d.name.startswith(tuple(options.drivers)))]
    if not chosen_drivers:
        raise SystemExit(f"drivers: there are {', '.join(d.name for d in DRIVERS)}")
    if options.quick:
        bench.runs = bench.runs[:1]
        chosen_drivers = [d for d in chosen_drivers if options.drivers or d.name in bench.quick]
    tally = Tally()
    try:
        chosen = [s for s in bench.scenarios() if options.scenario in s["name"]]
        if options.quick:
            chosen = [s for s in chosen if bench.is_quick(s["name"])]
        for driver in chosen_drivers:
            print(f"drivers: {driver.name} on {bench.kind}", flush=True)
            try_driver(bench, driver, chosen, tally)
    finally:
        bench.close()
    return report(bench.kind, tally)


def report(kind, tally):
    for text in tally.differences[: None if os.environ.get("DBMESH_TEST_KEEP") else DIFFERENCES_SHOWN]:
        print(text)
    if len(tally.differences) > DIFFERENCES_SHOWN:
        print(f"… {len(tally.differences)} differences in all; DBMESH_TEST_KEEP=1 shows every one")
    print(f"\n{kind + ' driver':<24} {'passed':>7} {'failed':>7} {'seconds':>8}")
    for name, passed, failed, note, seconds in tally.rows:
        print(f"{name:<24} {passed:>7} {failed:>7} {seconds:>8.1f}  {note}")
    passed, failed = (sum(row[i] for row in tally.rows) for i in (1, 2))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
