"""A store whose customers are split by their ids, with all that is a customer's beside him; regions are on every node, tags on one."""

from django.db import models


class Region(models.Model):
    id = models.IntegerField(primary_key=True)
    name = models.CharField(max_length=40, unique=True)

    def __str__(self):
        return self.name


class Tag(models.Model):
    name = models.CharField(max_length=40, unique=True)


class Customer(models.Model):
    name = models.CharField(max_length=80)
    email = models.EmailField(db_index=True)
    region = models.ForeignKey(Region, on_delete=models.PROTECT, related_name="customers")
    phone = models.CharField(max_length=30, default="", db_index=True)
    credit = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    since = models.DateTimeField()
    details = models.JSONField(default=dict)
    tags = models.ManyToManyField(Tag, through="Label")

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(credit__gte=0), name="credit_not_negative")]
        indexes = [models.Index(fields=["region", "-since"], name="by_region")]

    def __str__(self):
        return self.name


class Profile(models.Model):
    customer = models.OneToOneField(Customer, on_delete=models.CASCADE, primary_key=True)
    code = models.UUIDField()
    picture = models.BinaryField(null=True)


class Purchase(models.Model):
    class State(models.TextChoices):
        OPEN = "open"
        PAID = "paid"

    pk = models.CompositePrimaryKey("customer_id", "number")
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="purchases")
    number = models.PositiveIntegerField()
    region = models.ForeignKey(Region, null=True, on_delete=models.SET_NULL)
    total = models.DecimalField(max_digits=12, decimal_places=2)
    placed = models.DateTimeField(null=True)
    took = models.DurationField(null=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)

    class Meta:
        indexes = [models.Index(fields=["state", "placed"])]
        constraints = [models.UniqueConstraint(fields=["customer", "placed", "number"], name="placed_once")]


class Label(models.Model):
    pk = models.CompositePrimaryKey("customer_id", "tag_id")
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE)
    # Tags are on one node: no server could keep that promise.
    tag = models.ForeignKey(Tag, on_delete=models.CASCADE, db_constraint=False)
