"""The sample project's own tests; run.py runs them through dbmesh and on the server."""

import datetime
import threading
import uuid
from decimal import Decimal

from django.db import IntegrityError, connection, models, transaction
from django.db.models import Count, F, Q, Sum
from django.db.models.functions import TruncMonth
from django.test import TestCase, TransactionTestCase
from shop.models import Product, Sale, Tag

WHEN = datetime.datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=datetime.timezone.utc)


def product(name, **more):
    return Product.objects.create(name=name, price=Decimal("9.90"), added=WHEN, **more)


class Queries(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.lamp = product("Lampe 😀", stock=3, details={"k": [1, None, "ü"]}, picture=bytes(range(256)), code=uuid.UUID(int=7))
        cls.chair = product("chair")
        for amount in (1, 2, 3):
            Sale.objects.create(product=cls.lamp, amount=amount, took=datetime.timedelta(seconds=90))

    def test_values_come_back(self):
        lamp = Product.objects.get(pk=self.lamp.pk)
        self.assertEqual((lamp.name, lamp.price, lamp.added), ("Lampe 😀", Decimal("9.90"), WHEN))
        self.assertEqual((lamp.details, bytes(lamp.picture), lamp.code), ({"k": [1, None, "ü"]}, bytes(range(256)), uuid.UUID(int=7)))

    def test_json_lookups(self):
        self.assertEqual(Product.objects.filter(details__k__0=1).count(), 1)
        self.assertEqual(Product.objects.filter(details__has_key="k").get(), self.lamp)

    def test_aggregates(self):
        rows = Product.objects.annotate(sold=Sum("sales__amount"), n=Count("sales")).order_by("pk").values_list("name", "sold", "n")
        self.assertEqual(list(rows), [("Lampe 😀", 6, 3), ("chair", None, 0)])
        month = Product.objects.annotate(m=TruncMonth("added")).values_list("m", flat=True).distinct()
        self.assertEqual([m.month for m in month], [2])

    def test_relations(self):
        self.lamp.tags.set([Tag.objects.create(name="light"), Tag.objects.create(name="warm")])
        with self.assertNumQueries(2):
            found = list(Product.objects.filter(tags__name="warm").prefetch_related("tags"))
        self.assertEqual([t.name for t in found[0].tags.order_by("name")], ["light", "warm"])
        with self.assertRaises(models.ProtectedError):
            self.lamp.delete()

    def test_an_update_that_changes_nothing_counts_its_rows(self):
        self.assertEqual(Product.objects.filter(pk=self.chair.pk).update(stock=F("stock")), 1)
        self.chair.save()
        self.assertEqual(Product.objects.update_or_create(pk=self.chair.pk, defaults={"stock": 0})[1], False)

    def test_bulk(self):
        Product.objects.bulk_create([Product(name=f"p{n}", price=n, added=WHEN) for n in range(500)], batch_size=200)
        Product.objects.bulk_create([Product(pk=self.lamp.pk, name="x", price=1, added=WHEN)], update_conflicts=True, update_fields=["price"])
        self.assertEqual(Product.objects.count(), 502)
        self.assertEqual(Product.objects.get(pk=self.lamp.pk).price, 1)
        self.assertEqual(sum(1 for _ in Product.objects.iterator(chunk_size=50)), 502)

    def test_savepoints(self):
        with self.assertRaises(IntegrityError), transaction.atomic():
            Product.objects.create(name="same code", price=1, added=WHEN, code=uuid.UUID(int=7))
        with self.assertRaises(IntegrityError), transaction.atomic():
            Product.objects.create(name="negative", price=-1, added=WHEN)
        self.assertEqual(Product.objects.filter(~Q(name="chair")).count(), 1)

    def test_locking_reads(self):
        self.assertEqual(Product.objects.select_for_update().filter(pk=self.lamp.pk).get().stock, 3)

    def test_last_insert_id(self):
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO shop_tag (name) VALUES (%s)", ["by hand"])
            self.assertEqual(Tag.objects.get(name="by hand").pk, cursor.lastrowid)

    def test_session_settings(self):
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@sql_auto_is_null, @@transaction_isolation" if not connection.mysql_is_mariadb else "SELECT @@sql_auto_is_null, @@tx_isolation")
            self.assertEqual(cursor.fetchone(), (0, "READ-COMMITTED"))

    def test_introspection(self):
        with connection.cursor() as cursor:
            names = [t.name for t in connection.introspection.get_table_list(cursor)]
            self.assertIn("shop_product", names)
            keys = connection.introspection.get_constraints(cursor, "shop_product")
        self.assertIn("price_not_negative", keys)


class Transactions(TransactionTestCase):
    def test_commit_and_rollback(self):
        with transaction.atomic():
            product("kept")
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            product("lost")
            1 / 0
        self.assertEqual([p.name for p in Product.objects.all()], ["kept"])

    def test_hooks_after_commit(self):
        called = []
        with transaction.atomic():
            transaction.on_commit(lambda: called.append(Product.objects.count()))
            product("one")
        self.assertEqual(called, [1])

    def test_two_threads(self):
        counter = product("counter")
        failed = []

        def work():
            try:
                for _ in range(20):
                    with transaction.atomic():
                        row = Product.objects.select_for_update().get(pk=counter.pk)
                        row.stock += 1
                        row.save()
            except Exception as e:  # noqa: BLE001: told below
                failed.append(e)
            finally:
                connection.close()

        threads = [threading.Thread(target=work) for _ in range(2)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(failed, [])
        self.assertEqual(Product.objects.get(pk=counter.pk).stock, 40)
