"""What later migrations do: columns, keys and constraints come and go, rows are changed; all of it with a way back."""

import django.db.models.deletion
from django.db import migrations, models

REGIONS = ["east", "größe 😀"]


def fill(apps, schema_editor):
    region = apps.get_model("store", "Region")
    region.objects.bulk_create([region(pk=n, name=name) for n, name in enumerate(REGIONS, 100)])
    apps.get_model("store", "Customer").objects.filter(phone="").update(phone="-")


def empty(apps, schema_editor):
    apps.get_model("store", "Region").objects.filter(name__in=REGIONS).delete()


class Migration(migrations.Migration):
    dependencies = [("store", "0001_initial")]
    operations = [
        migrations.AddField("customer", "phone", models.CharField(max_length=20, default="", db_index=True)),
        migrations.AddField("purchase", "region", models.ForeignKey("store.region", null=True, on_delete=django.db.models.deletion.SET_NULL)),
        migrations.AlterField("customer", "phone", models.CharField(max_length=30, default="", db_index=True)),
        migrations.AddConstraint("purchase", models.UniqueConstraint(fields=["customer", "placed", "number"], name="placed_once")),
        migrations.AddConstraint("purchase", models.CheckConstraint(condition=models.Q(number__gt=0), name="number_positive")),
        migrations.RunPython(fill, empty),
        migrations.RenameField("profile", "picture", "image"),
        migrations.RenameField("profile", "image", "picture"),
        migrations.AddIndex("customer", models.Index(fields=["region", "-since"], name="by_region")),
        migrations.RemoveConstraint("purchase", "number_positive"),
    ]
