"""What people add to events and to a case's searches: it is theirs, so it lives in the database.

An annotation names its event by the deterministic id, so it outlives reindexing, rerunning and a
change of engine.
"""

from __future__ import annotations

from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import User
from cases.models.case import Case


class AnnotationBatchQuerySet(models.QuerySet["AnnotationBatch"]):
    """Which batches somebody may see."""

    def visible_to(self, user: User) -> Self:
        """Batches of the cases the user sees."""
        return self.filter(case_ref__in=Case.objects.visible_to(user))


class AnnotationBatch(models.Model):
    """One act of annotating all events of a query: what was asked, what was added, and whether undone."""

    case_ref = models.ForeignKey(
        Case, db_column="case_pk", on_delete=models.CASCADE, related_name="annotation_batches"
    )
    asked: models.JSONField[Any, Any] = models.JSONField(default=dict)
    events = models.IntegerField(default=0)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    undone_at = models.DateTimeField(null=True, blank=True)
    undone_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = AnnotationBatchQuerySet.as_manager()

    class Meta:
        db_table = "annotation_batches"
        ordering = ["-pk"]
        verbose_name_plural = "annotation batches"

    def __str__(self) -> str:
        return f"batch {self.pk}"

    @property
    def case_id(self) -> str:
        """The public name of the case."""
        return self.case_ref.case_id


class AnnotationQuerySet(models.QuerySet["Annotation"]):
    """Which annotations somebody may see."""

    def visible_to(self, user: User) -> Self:
        """Annotations of the cases the user sees."""
        return self.filter(case_ref__in=Case.objects.visible_to(user))

    def erase(self) -> int:
        """Delete these and their tags, and return how many they were; `delete` would read each first."""
        doomed = self.order_by()
        AnnotationTag.objects.filter(annotation__in=doomed.values("pk")).delete()
        return doomed._raw_delete(doomed.db)  # nothing but tags points at an annotation


class Annotation(models.Model):
    """What one person says of one event. `comment_folded` is the comment as it is compared."""

    case_ref = models.ForeignKey(
        Case, db_column="case_pk", on_delete=models.CASCADE, related_name="annotations"
    )
    event_id = models.CharField(max_length=64)
    evidence_uid = models.CharField(max_length=255, blank=True, default="", db_index=True)
    star = models.BooleanField(default=False)
    comment = models.TextField(blank=True, default="")
    comment_folded = models.TextField(blank=True, default="")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    batch = models.ForeignKey(
        AnnotationBatch, null=True, blank=True, on_delete=models.CASCADE, related_name="annotations"
    )
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    objects = AnnotationQuerySet.as_manager()

    class Meta:
        db_table = "annotations"
        ordering = ["pk"]
        indexes = [
            models.Index(fields=["case_ref", "event_id"], name="annotations_of_an_event"),
            models.Index(fields=["case_ref"], condition=Q(star=True), name="annotations_with_a_star"),
        ]

    def __str__(self) -> str:
        return f"annotation {self.pk}"

    @property
    def tags(self) -> list[str]:
        """The tags, in the order in which they were given."""
        return [row.tag for row in self.tag_rows.all()]

    @property
    def case_id(self) -> str:
        """The public name of the case."""
        return self.case_ref.case_id


class AnnotationTag(models.Model):
    """A tag of an annotation; `folded` is how it is compared."""

    annotation = models.ForeignKey(Annotation, on_delete=models.CASCADE, related_name="tag_rows")
    tag = models.CharField(max_length=255)
    folded = models.CharField(max_length=255, db_index=True)

    class Meta:
        db_table = "annotation_tags"
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["annotation", "folded"], name="a_tag_once_in_an_annotation"),
        ]

    def __str__(self) -> str:
        return self.tag


class SavedSearchQuerySet(models.QuerySet["SavedSearch"]):
    """Which saved searches somebody may see."""

    def visible_to(self, user: User) -> Self:
        """Saved searches of the cases the user sees."""
        return self.filter(case_ref__in=Case.objects.visible_to(user))


class SavedSearch(models.Model):
    """A search that the people of a case keep under a name; `start` and `end` are as they were typed."""

    case_ref = models.ForeignKey(
        Case, db_column="case_pk", on_delete=models.CASCADE, related_name="saved_searches"
    )
    name = models.CharField(max_length=255)
    q = models.TextField(blank=True, default="")
    start = models.CharField(max_length=64, blank=True, default="")
    end = models.CharField(max_length=64, blank=True, default="")
    columns: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    objects = SavedSearchQuerySet.as_manager()

    class Meta:
        db_table = "saved_searches"
        ordering = ["name"]
        verbose_name_plural = "saved searches"
        constraints = [
            models.UniqueConstraint(fields=["case_ref", "name"], name="a_search_name_once_in_a_case"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def case_id(self) -> str:
        """The public name of the case."""
        return self.case_ref.case_id
