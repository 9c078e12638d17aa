"""The store's own tests; run.py runs them before a sharded service and on one server."""

import datetime
import threading
import uuid
from decimal import Decimal

from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.db import IntegrityError, connection, models, transaction
from django.db.models import Avg, Count, Exists, F, Max, OuterRef, Prefetch, Q, Subquery, Sum, Window
from django.db.models.functions import RowNumber, TruncMonth
from django.test import TestCase, TransactionTestCase
from store.models import Customer, Label, Profile, Purchase, Region, Tag

WHEN = datetime.datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=datetime.timezone.utc)


def customer(name, region, **more):
    return Customer.objects.create(name=name, email=f"{name}@example.com", region=region, since=WHEN, **more)


class Queries(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.north, cls.south = (Region.objects.create(pk=n, name=name) for n, name in ((1, "north"), (2, "süd 😀")))
        cls.tags = [Tag.objects.create(name=name) for name in ("new", "gold")]
        cls.all = [customer(f"c{n}", cls.north if n % 2 else cls.south, credit=n, details={"n": [n, None]}) for n in range(12)]
        for n, one in enumerate(cls.all):
            Profile.objects.create(customer=one, code=uuid.UUID(int=n), picture=bytes(range(n)))
            Purchase.objects.bulk_create([Purchase(customer=one, number=k, total=Decimal("1.25") * k * n, placed=WHEN, state="paid" if k % 2 else "open") for k in range(1, 4)])
            Label.objects.create(customer=one, tag=cls.tags[n % 2])

    def test_values_come_back(self):
        one = Customer.objects.select_related("profile", "region").get(pk=self.all[3].pk)
        self.assertEqual((one.name, one.credit, one.since, one.details), ("c3", 3, WHEN, {"n": [3, None]}))
        self.assertEqual((one.profile.code, bytes(one.profile.picture), one.region.name), (uuid.UUID(int=3), bytes(range(3)), "north"))
        self.assertEqual(Purchase.objects.get(pk=(one.pk, 2)).total, Decimal("7.5"))

    def test_keys_are_given_one_by_one_and_all_different(self):
        keys = [one.pk for one in self.all]
        self.assertEqual(len(set(keys)), 12)
        self.assertEqual(sorted(keys), keys)

    def test_lists_are_paginated(self):
        pages = Paginator(Customer.objects.select_related("region").order_by("-name"), 5)
        self.assertEqual((pages.count, pages.num_pages), (12, 3))
        self.assertEqual([c.name for c in pages.page(2)], ["c4", "c3", "c2", "c11", "c10"])

    def test_aggregates(self):
        self.assertEqual(Purchase.objects.aggregate(Sum("total"), Max("number"), n=Count("*")), {"total__sum": Decimal("495"), "number__max": 3, "n": 36})
        rows = Customer.objects.values("region__name").annotate(n=Count("pk"), mean=Avg("credit")).order_by("region__name")
        self.assertEqual([(r["region__name"], r["n"], r["mean"]) for r in rows], [("north", 6, 6), ("süd 😀", 6, 5)])
        spent = Customer.objects.annotate(spent=Sum("purchases__total", filter=Q(purchases__state="paid"))).filter(spent__gt=40).order_by("-spent")
        self.assertEqual([(c.name, c.spent) for c in spent], [("c11", Decimal("55")), ("c10", Decimal("50")), ("c9", Decimal("45"))])
        months = Purchase.objects.annotate(m=TruncMonth("placed")).values("m").annotate(n=Count("*"))
        self.assertEqual([(r["m"].month, r["n"]) for r in months], [(2, 36)])

    def test_joins_and_subqueries(self):
        self.assertEqual(Customer.objects.filter(purchases__total__gte=30, region__name="north").distinct().count(), 2)
        last = Purchase.objects.filter(customer=OuterRef("pk")).order_by("-number").values("total")[:1]
        self.assertEqual([c.last for c in Customer.objects.annotate(last=Subquery(last)).order_by("name")[:3]], [0, Decimal("3.75"), Decimal("37.5")])
        self.assertEqual(Customer.objects.filter(Exists(Purchase.objects.filter(customer=OuterRef("pk"), total__gt=40))).count(), 1)
        ranked = Customer.objects.annotate(place=Window(RowNumber(), partition_by="region", order_by=F("credit").desc())).order_by("pk")
        self.assertEqual([c.place for c in ranked], [6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1])
        both = Customer.objects.filter(credit=1).values_list("name").union(Tag.objects.values_list("name")).order_by("name")
        self.assertEqual([n for n, in both], ["c1", "gold", "new"])

    def test_related_rows_are_fetched_beside(self):
        with self.assertNumQueries(3):
            found = list(Customer.objects.filter(credit__lt=3).order_by("pk").prefetch_related("tags", Prefetch("purchases", Purchase.objects.order_by("number"))))
        self.assertEqual([[p.number for p in c.purchases.all()] for c in found], [[1, 2, 3]] * 3)
        self.assertEqual([[t.name for t in c.tags.all()] for c in found], [["new"], ["gold"], ["new"]])
        self.assertEqual(self.tags[0].customer_set.count(), 6)

    def test_json_lookups(self):
        self.assertEqual(Customer.objects.filter(details__n__0=4).get(), self.all[4])
        self.assertEqual(Customer.objects.filter(details__has_key="n").count(), 12)

    def test_get_or_create(self):
        got = Region.objects.get_or_create(pk=3, defaults={"name": "west"})
        self.assertEqual((got[1], Region.objects.get_or_create(pk=3)[1]), (True, False))
        first, made = Customer.objects.get_or_create(email="x@example.com", defaults={"name": "x", "region": self.north, "since": WHEN})
        self.assertTrue(made)
        again, made = Customer.objects.update_or_create(email="x@example.com", defaults={"name": "y"})
        self.assertEqual((again.pk, made, Customer.objects.get(pk=first.pk).name), (first.pk, False, "y"))

    def test_bulk(self):
        Customer.objects.bulk_create([Customer(name=f"b{n}", email="b@example.com", region=self.north, since=WHEN) for n in range(300)], batch_size=100)
        self.assertEqual(Customer.objects.filter(email="b@example.com").count(), 300)
        self.assertEqual(len(set(Customer.objects.values_list("pk", flat=True))), 312)
        some = list(Customer.objects.filter(name__startswith="b1"))
        for one in some:
            one.credit = 7
        self.assertEqual(Customer.objects.bulk_update(some, ["credit"]), len(some))
        self.assertEqual(Customer.objects.filter(credit=7, email="b@example.com").count(), len(some))
        Purchase.objects.bulk_create([Purchase(customer=self.all[0], number=k, total=9) for k in (1, 8)], update_conflicts=True, update_fields=["total"])
        self.assertEqual(sorted(self.all[0].purchases.values_list("number", "total")), [(1, 9), (2, 0), (3, 0), (8, 9)])
        Purchase.objects.bulk_create([Purchase(customer=self.all[0], number=8, total=1)], ignore_conflicts=True)
        self.assertEqual(sum(1 for _ in Customer.objects.order_by("pk").iterator(chunk_size=50)), 312)

    def test_changes_count_their_rows(self):
        self.assertEqual(Purchase.objects.filter(state="open").update(total=F("total") + 1), 12)
        self.assertEqual(Customer.objects.filter(pk=self.all[1].pk).update(credit=F("credit")), 1)
        self.assertEqual(Purchase.objects.filter(number=3).delete(), (12, {"store.Purchase": 12}))
        self.assertEqual(self.all[2].delete()[1], {"store.Purchase": 2, "store.Label": 1, "store.Profile": 1, "store.Customer": 1})

    def test_constraints_hold(self):
        for wrong in (
            lambda: customer("negative", self.north, credit=-1),
            lambda: Purchase.objects.create(customer=self.all[0], number=1, total=1),
            lambda: Customer.objects.create(name="nowhere", email="", region_id=99, since=WHEN),
            lambda: Purchase.objects.create(customer_id=10**9, number=1, total=1),
            lambda: Region.objects.filter(pk=1)._raw_delete("default"),
            lambda: Region.objects.create(pk=5, name="north"),
        ):
            with self.assertRaises(IntegrityError), transaction.atomic():
                wrong()
        with self.assertRaises(models.ProtectedError):
            self.north.delete()
        self.assertEqual(Customer.objects.count(), 12)

    def test_errors_name_what_the_client_knows(self):
        said = []
        for wrong in (lambda: customer("negative", self.north, credit=-1), lambda: Region.objects.filter(pk=1)._raw_delete("default"), lambda: Purchase.objects.create(customer_id=10**9, number=1, total=1)):
            with self.assertRaises(IntegrityError) as caught, transaction.atomic():
                wrong()
            said.append(str(caught.exception))
        self.assertIn("credit_not_negative", said[0])
        self.assertIn("`drivers`.`store_customer`, CONSTRAINT `store_customer_region_id_", said[1])
        self.assertIn("`drivers`.`store_purchase`, CONSTRAINT `store_purchase_customer_id_", said[2])
        self.assertNotIn("~", "".join(said))

    def test_locking_reads(self):
        with transaction.atomic():
            self.assertEqual(Customer.objects.select_for_update().get(pk=self.all[5].pk).name, "c5")
            self.assertEqual(len(Customer.objects.select_for_update(skip_locked=True).filter(credit__lt=4)), 4)
            if not connection.mysql_is_mariadb:
                # MariaDB reports that its session changed, which binds it to its node.
                self.assertEqual(len(Purchase.objects.select_for_update(nowait=True).filter(customer=self.all[1])), 3)

    def test_plans(self):
        self.assertTrue(Customer.objects.filter(pk=self.all[0].pk).explain())
        self.assertIn("SIMPLE", Customer.objects.filter(credit__gt=3).explain(format="traditional" if not connection.mysql_is_mariadb else None))

    def test_introspection(self):
        with connection.cursor() as cursor:
            tables = {t.name for t in connection.introspection.get_table_list(cursor)}
            keys = connection.introspection.get_constraints(cursor, "store_customer")
            relations = connection.introspection.get_relations(cursor, "store_purchase")
        self.assertLessEqual({"store_customer", "store_region", "auth_user"}, tables)
        self.assertFalse([t for t in tables if t.startswith("store_") and t[-1].isdigit()])
        self.assertTrue(keys["credit_not_negative"]["check"])
        self.assertEqual([k["foreign_key"] for k in keys.values() if k["foreign_key"]], [("store_region", "id")])
        self.assertEqual({of: to[:2] for of, to in relations.items()}, {"customer_id": ("id", "store_customer"), "region_id": ("id", "store_region")})


class Admin(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.north = Region.objects.create(pk=1, name="north")
        cls.all = [customer(f"c{n:02}", cls.north, credit=n) for n in range(25)]
        User.objects.create_superuser("root", "root@example.com", "secret")

    def setUp(self):
        self.assertTrue(self.client.login(username="root", password="secret"))

    def page(self, path, **query):
        answer = self.client.get(f"/admin/store/{path}", query)
        self.assertEqual(answer.status_code, 200)
        return answer

    def test_lists(self):
        first = self.page("customer/")
        self.assertEqual((first.context["cl"].result_count, [c.name for c in first.context["cl"].result_list][0]), (25, "c24"))
        last = self.page("customer/", p=3, o=1)
        self.assertEqual([c.name for c in last.context["cl"].result_list], ["c20", "c21", "c22", "c23", "c24"])
        found = self.page("customer/", q="c1 north", region__id__exact=1, since__year=2024, since__month=2)
        self.assertEqual(found.context["cl"].result_count, 10)

    def test_add_change_and_delete(self):
        form = {"name": "added", "email": "a@example.com", "region": 1, "credit": 2, "phone": "1", "since_0": "2024-01-01", "since_1": "10:00:00", "details": '{"a": 1}'}
        form |= {"profile-TOTAL_FORMS": 1, "profile-INITIAL_FORMS": 0, "profile-0-code": str(uuid.UUID(int=5))}
        answer = self.client.post("/admin/store/customer/add/", form)
        self.assertRedirects(answer, "/admin/store/customer/")
        added = Customer.objects.select_related("profile").get(name="added")
        self.assertEqual(added.profile.code, uuid.UUID(int=5))
        form |= {"name": "changed", "profile-TOTAL_FORMS": 1, "profile-INITIAL_FORMS": 1, "profile-0-customer": added.pk}
        self.assertRedirects(self.client.post(f"/admin/store/customer/{added.pk}/change/", form), "/admin/store/customer/")
        self.assertEqual(Customer.objects.get(pk=added.pk).name, "changed")
        self.assertContains(self.page(f"customer/{added.pk}/history/"), "Changed")
        self.assertContains(self.page(f"customer/{added.pk}/delete/"), "changed")
        self.client.post(f"/admin/store/customer/{added.pk}/delete/", {"post": "yes"})
        self.assertFalse(Customer.objects.filter(pk=added.pk).exists())

    def test_many_are_deleted_by_an_action(self):
        chosen = [c.pk for c in self.all[:7]]
        self.client.post("/admin/store/customer/", {"action": "delete_selected", "_selected_action": chosen, "post": "yes"})
        self.assertEqual(Customer.objects.count(), 18)


class Transactions(TransactionTestCase):
    def setUp(self):
        self.north = Region.objects.create(pk=1, name="north")

    def test_commit_and_rollback(self):
        with transaction.atomic():
            kept = [customer(f"kept{n}", self.north) for n in range(4)]
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            for one in kept:
                Purchase.objects.create(customer=one, number=1, total=1)
            1 / 0
        with transaction.atomic():
            try:
                with transaction.atomic():
                    Customer.objects.update(credit=5)
                    raise ValueError
            except ValueError:
                customer("after", self.north)
        self.assertEqual([Purchase.objects.count(), Customer.objects.filter(credit=5).count(), Customer.objects.count()], [0, 0, 5])

    def test_two_threads(self):
        rows = [customer(f"t{n}", self.north) for n in range(4)]
        failed = []

        def work():
            try:
                for n in range(12):
                    with transaction.atomic():
                        for one in (rows[n % 2], rows[2 + n % 2]):
                            row = Customer.objects.select_for_update().get(pk=one.pk)
                            row.credit += 1
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
        self.assertEqual([c.credit for c in Customer.objects.order_by("pk")], [12, 12, 12, 12])
