"""The web process. Unsafe combinations of settings do not start."""

import os

from django.core.checks import ERROR, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "datamortem.settings")

application = get_wsgi_application()

if errors := [str(found) for found in run_checks() if found.is_serious(ERROR)]:
    raise ImproperlyConfigured("\n".join(errors))
