"""The site map: pages, /api/v1/, /admin/, and whether all is well."""

from django.contrib import admin
from django.urls import include, path, re_path

from datamortem import health, metrics
from datamortem.common.api import Nowhere, failed, refused
from datamortem.schema import DocsView, SchemaView

handler400, handler500 = refused, failed

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", metrics.metrics),
    path("api/v1/", include("accounts.urls")),
    path("api/v1/", include("cases.api.urls")),
    path("api/v1/schema/", SchemaView.as_view(), name="schema"),
    path("api/v1/docs/", DocsView.as_view(url_name="schema"), name="api-docs"),
    re_path(r"^api/", Nowhere.as_view()),
    path("admin/", admin.site.urls),
    path("", include("accounts.page_urls")),
    path("", include("cases.urls")),
]
