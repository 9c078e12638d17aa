"""Runs a sample Django project: `play.py shop|store`, the target on standard input, answers on standard output.

Owns the calls of the project's commands. It must never judge an answer: run.py compares what is printed of the mesh with
what is printed of the server; a test of the project that fails is a failure by itself.
"""

import io
import json
import os
import pathlib
import re
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

# What `inspectdb` is asked for.
TABLES = {"shop": ["shop_product", "shop_sale"], "store": ["store_customer", "store_purchase", "store_label", "store_region"]}


def say(name, answer):
    print(json.dumps({"scenario": name, "session": "a", "step": 0, "answer": answer}, default=repr), flush=True)


def command(name, *args, **options):
    from django.core.management import call_command

    out = io.StringIO()
    call_command(name, *args, stdout=out, stderr=out, **options)
    return [re.sub(r"\d+\.\d+s", "", line) for line in out.getvalue().splitlines()]


class Outcomes(unittest.TextTestResult):
    """Tells every test's outcome by name."""

    def addSuccess(self, test):
        super().addSuccess(test)
        say(f"test {test._testMethodName}", "passed")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        say(f"test {test._testMethodName}", {"failed": str(err[1])})

    addError = addFailure


def main():
    target = json.load(sys.stdin)["target"]
    app = sys.argv[1]
    settings = {"shop": "settings", "store": "settings_store"}[app]
    os.environ.update(DJANGO_SETTINGS_MODULE=settings, DRIVER_PORT=str(target["port"]), DRIVER_USER=target["user"], DRIVER_PASSWORD=target["password"])
    import django

    django.setup()
    from django.db import connection
    from django.test.runner import DiscoverRunner

    # `drivers_django` is made by run.py.
    say("migrate", command("migrate", interactive=False, verbosity=1))
    say("plan", command("showmigrations"))
    say("no changes are left", command("makemigrations", "--check", "--dry-run"))
    for table in TABLES[app]:
        say(f"inspectdb {table}", [line for line in command("inspectdb", table) if not line.startswith("#")])
    say("sqlmigrate", command("sqlmigrate", app, "0002"))
    say("undo a migration", command("migrate", app, "0001", interactive=False))
    say("do it again", command("migrate", app, interactive=False))
    say("check", command("check", databases=["default"]))
    connection.close()

    class Runner(DiscoverRunner):
        def get_resultclass(self):
            return Outcomes

    sys.stderr = io.StringIO()
    # A sharded service has one schema, in which the store has its tables: `test --keepdb`.
    failed = Runner(verbosity=0, interactive=False, keepdb=app == "store", top_level=str(HERE)).run_tests([app])
    say("tests that failed", failed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
