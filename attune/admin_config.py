"""The app config that makes the console's site the admin's default site."""

from django.contrib.admin.apps import AdminConfig


class ConsoleConfig(AdminConfig):
    default_site = "attune.admin_site.ConsoleSite"
