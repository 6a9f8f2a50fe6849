"""What the database remembers about the index, which can be thrown away."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone


def _new_namespace() -> str:
    return uuid.uuid4().hex


class Installation(models.Model):
    """The one row (pk 1) that tells this installation from others that share a search server."""

    namespace = models.CharField(max_length=32, default=_new_namespace)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "installation"

    def __str__(self) -> str:
        return self.namespace


class Erasure(models.Model):
    """Text that was removed from sight and must leave the disk of the index.

    An empty `evidence_uid` means the whole case. Case and evidence are kept as text: they are gone.
    """

    case_id = models.CharField(max_length=255)
    evidence_uid = models.CharField(max_length=255, blank=True, default="")
    requested_at = models.DateTimeField(default=timezone.now)
    tried_at = models.DateTimeField(null=True, blank=True)
    erased_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "index_erasures"
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"erasure {self.pk}"
