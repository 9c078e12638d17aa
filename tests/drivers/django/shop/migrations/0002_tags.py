"""Rows and SQL in a migration, both with a way back."""

from django.db import migrations

NAMES = ["new", "old", "größe 😀"]


def fill(apps, schema_editor):
    apps.get_model("shop", "Tag").objects.bulk_create([apps.get_model("shop", "Tag")(name=name) for name in NAMES])


def empty(apps, schema_editor):
    apps.get_model("shop", "Tag").objects.filter(name__in=NAMES).delete()


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [
        migrations.RunPython(fill, empty),
        migrations.RunSQL(
            "CREATE VIEW shop_stocked AS SELECT name, stock FROM shop_product WHERE stock > 0; SELECT 1",
            "DROP VIEW shop_stocked",
        ),
    ]
