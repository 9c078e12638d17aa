"""Plays the scenarios with a Python driver: `play.py DRIVER`, the play on standard input, answers on standard output.

Owns the order of steps of the two sessions. It must never judge an answer: run.py compares what this program prints
when it talks to the mesh with what it prints when it talks to the server. See docs/drivers.md for the protocol.
"""

import sys

if sys.argv[1:] == ["connector_c"]:
    # It brings a libssl of its own, which must be loaded before Python's modules load the machine's.
    import _mysql_connector  # noqa: F401

import importlib
import json
import threading
import time
import traceback

from shown import ENDS_WITHOUT, Unsupported

def argument(value):
    if isinstance(value, dict) and "hex" in value:
        return bytes.fromhex(value["hex"])
    if isinstance(value, dict):
        return value["repeat"] * value["times"]
    return value


class Session:
    """One client session of a scenario, through a driver's module."""

    def __init__(self, driver, target, connect, who):
        self.driver, self.target, self.who = driver, target, who
        self.wanted = {"schema": "drivers", "user": target["user"], "password": target["password"]}
        for key, value in connect.items():
            if key.endswith("_of"):
                key, value = key[:-3], value[who]
            self.wanted[key] = value
        self.conn = None
        self.kept = {}

    def play(self, step):
        if self.conn is None and step["do"] != "reconnect":
            self.open()
        return getattr(self, "do_" + step["do"])(step)

    def open(self):
        self.conn = self.driver.connect(self.target, self.wanted)
        self.first_id = self.driver.thread_id(self.conn)

    def close(self):
        self.kept.clear()
        if self.conn is not None:
            conn, self.conn = self.conn, None
            self.driver.close(conn)

    def do_query(self, step):
        args = [argument(a) for a in step["args"]]
        return self.driver.query(self.conn, self.driver.placeholders(step["sql"], args), args)

    def do_prepared(self, step):
        return self.driver.prepared(self.conn, step["sql"], [argument(a) for a in step["args"]])

    def do_prepare(self, step):
        self.kept[step["name"]] = self.driver.prepare(self.conn, step["sql"])
        return "prepared"

    def do_run(self, step):
        if step["name"] not in self.kept:
            raise Unsupported("it was not prepared")
        return self.driver.run(self.kept[step["name"]], step, [argument(a) for a in step["args"]])

    def do_release(self, step):
        if step["name"] not in self.kept:
            raise Unsupported("it was not prepared")
        self.driver.release(self.kept.pop(step["name"]))
        return "released"

    def do_batch(self, step):
        return self.driver.batch(self.conn, self.driver.placeholders(step["sql"], [1]), step["rows"])

    def do_call(self, step):
        return self.driver.call(self.conn, step["name"], step["args"])

    def do_cursor(self, step):
        return self.driver.cursor(self.conn, step["sql"], step["args"], step["size"])

    def do_stream(self, step):
        return self.driver.stream(self.conn, step["sql"])

    def do_begin(self, _):
        return self.driver.begin(self.conn)

    def do_commit(self, _):
        return self.conn.commit()

    def do_rollback(self, _):
        return self.conn.rollback()

    def do_autocommit(self, step):
        return self.driver.autocommit(self.conn, step["on"])

    def do_use(self, step):
        return self.driver.use(self.conn, step["schema"])

    def do_ping(self, _):
        return self.driver.ping(self.conn)

    def do_reset(self, _):
        return self.driver.reset(self.conn)

    def do_reset_or_close(self, _):
        try:
            self.driver.reset(self.conn)
        except Unsupported:
            self.close()
        return "cleared"

    def do_change_user(self, step):
        return self.driver.change_user(self.conn, self.target, step["schema"])

    def do_reconnect(self, _):
        self.close()
        self.open()
        return "reconnected"

    def do_same_id(self, _):
        rows = self.driver.query(self.conn, "SELECT CONNECTION_ID()", [])["results"][0]["rows"]
        return rows[0][0] == self.driver.thread_id(self.conn) == self.first_id

    def do_metadata(self, _):
        raise Unsupported("the DB-API has no calls for what tables are")

    def do_kill(self, step):
        def killer(number):
            time.sleep(0.4)
            other = self.driver.connect(self.target, {**self.wanted})
            self.driver.query(other, f"KILL QUERY {number}", [])
            self.driver.close(other)
        return self.while_killed(step["sql"], killer)

    def do_kill_connection(self, _):
        def killer(number):
            time.sleep(0.4)
            other = self.driver.connect(self.target, {**self.wanted})
            self.driver.query(other, f"KILL {number}", [])
            self.driver.close(other)
        answer = self.while_killed("SELECT SLEEP(8)", killer)
        # What a driver says of a socket that was closed may be one of several codes.
        return "lost" if isinstance(answer, dict) and answer.get("error", [0])[0] in (2013, 2006, 2055, 1317, 0) else answer

    def while_killed(self, sql, killer):
        thread = threading.Thread(target=killer, args=(self.driver.thread_id(self.conn),))
        thread.start()
        began = time.monotonic()
        try:
            answer = self.driver.query(self.conn, sql, [])
        except self.driver.errors as error:
            answer = {"error": self.driver.error(error)}
        thread.join()
        return answer if time.monotonic() - began < 5 else "killed too late"


class Play:
    """One scenario, played by two sessions that take turns."""

    def __init__(self, driver, order, scenario, out):
        self.driver, self.turns, self.scenario, self.out = driver, order["turns"], scenario, out
        self.over = False
        self.sessions = {who: Session(driver, order["target"], scenario["connect"], who) for who in ("a", "b")}

    def run(self):
        left = {who: list(enumerate(self.scenario["steps"][who])) for who in ("a", "b")}
        turn, other = "a", "b"
        while (left[turn] or left[other]) and not self.over:
            if not left[turn]:
                turn, other = other, turn
            index, step = left[turn].pop(0)
            self.step(turn, index, step)
            if not left[turn]:
                self.sessions[turn].close()
            if self.turns == "always" or not step["hold"] or not left[turn]:
                turn, other = other, turn

    def step(self, who, index, step):
        try:
            answer = self.sessions[who].play(step)
        except Unsupported as why:
            answer = {"unsupported": str(why)}
            self.over = step["do"] in ENDS_WITHOUT
        except self.driver.errors as error:
            answer = {"error": self.driver.error(error)}
        except Exception as error:  # noqa: BLE001: a driver may raise anything; it is an answer to compare
            answer = {"raised": f"{type(error).__name__}: {error}", "where": traceback.format_exc().splitlines()[-3].strip()}
        record = {"scenario": self.scenario["name"], "session": who, "step": index, "answer": answer}
        self.out.write(json.dumps(record, ensure_ascii=True) + "\n")
        self.out.flush()

    def close(self):
        for session in self.sessions.values():
            try:
                session.close()
            except Exception:  # noqa: BLE001: it was broken before
                pass


def main():
    driver = importlib.import_module("driver_" + sys.argv[1]).Driver()
    order = json.load(sys.stdin)
    server = driver.connect({**order["target"], "port": order["target"]["direct"]}, {**order["target"], "schema": "drivers"})
    for scenario in order["scenarios"]:
        for sql in scenario["reset"]:
            driver.query(server, sql, [])
        play = Play(driver, order, scenario, sys.stdout)
        try:
            play.run()
        finally:
            play.close()


if __name__ == "__main__":
    main()
