"""Settings of the sample project: where to connect comes from the environment."""

import os

SECRET_KEY = "of a test"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "shop"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.mysql",
        "NAME": "drivers_django",
        "HOST": "127.0.0.1",
        "PORT": os.environ["DRIVER_PORT"],
        "USER": os.environ["DRIVER_USER"],
        "PASSWORD": os.environ["DRIVER_PASSWORD"],
        "CONN_MAX_AGE": 60,
        "OPTIONS": {"charset": "utf8mb4"},
        "TEST": {"CHARSET": "utf8mb4"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
