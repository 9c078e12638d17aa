"""A small shop: every kind of field and relation that reaches the database in its own way."""

from django.db import models


class Tag(models.Model):
    name = models.CharField(max_length=40, unique=True)


class Product(models.Model):
    name = models.CharField(max_length=80)
    price = models.DecimalField(max_digits=12, decimal_places=2)
    added = models.DateTimeField()
    stock = models.PositiveIntegerField(default=0)
    details = models.JSONField(default=dict)
    picture = models.BinaryField(null=True)
    code = models.UUIDField(null=True, unique=True)
    tags = models.ManyToManyField(Tag)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(price__gte=0), name="price_not_negative")]
        indexes = [models.Index(fields=["added", "name"])]


class Sale(models.Model):
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="sales")
    amount = models.IntegerField()
    took = models.DurationField(null=True)
