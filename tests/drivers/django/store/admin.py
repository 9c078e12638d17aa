"""The admin pages of the store."""

from django.contrib import admin
from store.models import Customer, Profile, Region, Tag


class ProfileInline(admin.StackedInline):
    model = Profile
    fields = ["code"]


@admin.register(Customer)
class CustomerAdmin(admin.ModelAdmin):
    list_display = ["name", "email", "region", "credit"]
    list_filter = ["region", "since"]
    list_select_related = ["region"]
    list_per_page = 10
    search_fields = ["name", "email", "region__name"]
    date_hierarchy = "since"
    inlines = [ProfileInline]


admin.site.register([Region, Tag])
