"""The one settings file: typed readers over the environment or a `.env` file.

Without any variable this is the laptop: SQLite, embedded index, built-in worker, loopback only.
Every variable has its line in docker/env.example. Combinations that are unsafe are refused by
`datamortem.checks`, values that make no sense right here.
"""

import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import environ
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse, reverse_lazy

from datamortem.common.buckets import SCHEME, check_endpoint, read_bucket_url

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")


def _directory(path: Path) -> Path:
    """Return the directory, made for the owner alone if it was not there."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _flag(name: str, *, default: bool) -> bool:
    """Return a yes or no; anything else is refused, where environ would read it as no."""
    value = env.str(name, default=str(default)).lower()
    if value not in (*env.BOOLEAN_TRUE_STRINGS, "false", "off", "no", "n", "0"):
        raise ImproperlyConfigured(f"{name}={value!r}: expected true or false.")
    return value in env.BOOLEAN_TRUE_STRINGS


def _at_least(name: str, least: int, *, default: int) -> int:
    """Return a whole number that is not smaller than it may be."""
    value: int = env.int(name, default=default)
    if value < least:
        raise ImproperlyConfigured(f"{name}={value}: expected {least} or more.")
    return value


def _one_of(name: str, known: tuple[str, ...], *, default: str) -> str:
    """Return one of the words that a setting may be."""
    value: str = env.str(name, default=default)
    if value not in known:
        raise ImproperlyConfigured(f"{name}={value!r}: expected one of {', '.join(known)}.")
    return value


def _words(name: str, known: tuple[str, ...], *, default: str) -> tuple[str, ...]:
    """Return the words of a setting, separated by commas; "none" for none."""
    value: str = env.str(name, default=default)
    words = () if value == "none" else tuple(word.strip() for word in value.split(",") if word.strip())
    if unknown := set(words) - set(known):
        raise ImproperlyConfigured(
            f"{name}: {', '.join(sorted(unknown))}: expected {', '.join(known)}, or none."
        )
    return words


def _folder(name: str, *, default: Path, scheme: str = "file://") -> Path:
    """Return the directory of a setting, a path or a file:// URL."""
    value = env.str(name, default=str(default)).removeprefix(scheme)
    if "://" in value or not value:
        raise ImproperlyConfigured(f"{name}={value!r}: expected a path, or file:///path.")
    return Path(value).expanduser().resolve()


def _key_of_this_installation(path: Path, make: Callable[[], str]) -> str:
    """Return the random key kept in a file only its owner reads; the first start writes it."""
    if not path.exists():
        handle, draft = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w") as file:
            file.write(make())
        try:
            os.link(draft, path)  # five first starts at once agree on one key
        except FileExistsError:
            pass
        finally:
            Path(draft).unlink()
    return path.read_text("ascii").strip()


def _chosen(name: str, default: str, schemes: tuple[str, ...]) -> str:
    """Return the URL of a setting whose scheme must be one we know."""
    value: str = env.str(name, default=default)
    if urlsplit(value).scheme not in schemes and value not in schemes:
        raise ImproperlyConfigured(f"{name}={value!r}: expected one of {', '.join(schemes)}.")
    return value


def _check_bucket() -> None:
    """Refuse a bucket that nobody could reach, and half a pair of keys."""
    for name, value, check in (
        ("EVIDENCE_URL", EVIDENCE_URL if EVIDENCE_URL.startswith(SCHEME) else "", read_bucket_url),
        ("EVIDENCE_S3_ENDPOINT", EVIDENCE_S3_ENDPOINT, check_endpoint),
    ):
        try:
            if value:
                check(value)
        except ValueError as error:
            raise ImproperlyConfigured(f"{name}: {error}") from None
    if bool(EVIDENCE_S3_ACCESS_KEY) != bool(EVIDENCE_S3_SECRET_KEY):
        raise ImproperlyConfigured(
            "EVIDENCE_S3_ACCESS_KEY and EVIDENCE_S3_SECRET_KEY: expected both, or neither."
        )
    if EVIDENCE_S3_CA and not Path(EVIDENCE_S3_CA).is_file():
        raise ImproperlyConfigured(f"EVIDENCE_S3_CA={EVIDENCE_S3_CA!r}: expected a file of certificates.")


def _broker(name: str) -> str:
    """Return "builtin", or the URL of a broker that names its host."""
    value: str = env.str(name, default="builtin")
    parts = urlsplit(value)
    if value != "builtin" and (
        parts.scheme not in ("redis", "rediss", "amqp", "amqps") or not parts.hostname
    ):
        raise ImproperlyConfigured(
            f"{name}: expected builtin, or redis(s):// or amqp(s)://user:password@host."
        )
    return value


# Where everything of the embedded default lives -------------------------------------------------

HOME = _directory(Path(env.str("DATAMORTEM_HOME", default=str(BASE_DIR / "var"))).expanduser().resolve())

DEBUG = _flag("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="") or _key_of_this_installation(
    HOME / "secret.key", lambda: secrets.token_urlsafe(64)
)
#: Keys that sign tokens of the API, newest first: older ones still check. Empty: made from SECRET_KEY.
SIGNING_KEYS = env.list("SIGNING_KEYS", default=[])
#: Fernet keys that seal secrets in the database, newest first: older ones still open.
FIELD_KEYS = env.list("FIELD_KEYS", default=[]) or [
    _key_of_this_installation(HOME / "field.key", lambda: Fernet.generate_key().decode("ascii"))
]
PUBLIC_URL = env.str("PUBLIC_URL", default="http://127.0.0.1:8000").rstrip("/")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])

for _key in FIELD_KEYS:
    try:
        Fernet(_key)
    except ValueError:
        raise ImproperlyConfigured(
            "FIELD_KEYS: expected keys of 32 bytes in URL-safe base64, as Fernet.generate_key() makes them."
        ) from None
if any(len(key) < 32 for key in SIGNING_KEYS):
    raise ImproperlyConfigured("SIGNING_KEYS: expected 32 or more random characters each.")

if urlsplit(PUBLIC_URL).scheme not in ("http", "https") or not urlsplit(PUBLIC_URL).hostname:
    raise ImproperlyConfigured(f"PUBLIC_URL={PUBLIC_URL!r}: expected http(s)://host[:port].")

# What is installed ------------------------------------------------------------------------------

INSTALLED_APPS = [
    "datamortem",
    "accounts",
    "cases",
    "scripts_marketplace",
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "datamortem.apps.AdministrationConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "drf_standardized_errors",
]

MIDDLEWARE = [
    "datamortem.common.measures.Requests",
    "datamortem.common.requests.RequestId",
    "datamortem.common.headers.ContentSecurity",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.middleware.BrowserSessions",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "datamortem.common.refusals.RefusedPages",
]

ROOT_URLCONF = "datamortem.urls"
WSGI_APPLICATION = "datamortem.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "datamortem" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Database ---------------------------------------------------------------------------------------

DATABASES = {"default": env.db_url("DATABASE_URL", default=f"sqlite:///{HOME / 'datamortem.sqlite3'}")}
_database = DATABASES["default"]

if _database["ENGINE"] == "django.db.backends.sqlite3":
    # Writers queue from their first statement on, and readers never wait for them.
    _database["ENGINE"] = "datamortem.sqlite3"
    _database["OPTIONS"] = {
        "timeout": 30,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
elif _database["ENGINE"] == "django.db.backends.postgresql":
    # A server that does not answer is said so within seconds, not minutes.
    _database["OPTIONS"] = {"connect_timeout": 10, **_database.get("OPTIONS", {})}
    _database["CONN_MAX_AGE"] = 60
    _database["CONN_HEALTH_CHECKS"] = True
else:
    raise ImproperlyConfigured("DATABASE_URL: expected sqlite:///path or postgres://user:password@host/name.")

DEFAULT_AUTO_FIELD = "django.db.models.AutoField"  # the documented tables have 32-bit ids

#: Rows with every microsecond, to move them to another database.
SERIALIZATION_MODULES = {"exact": "datamortem.exact"}

#: The apps whose migrations make up the documented history of the schema.
REVISION_APPS = ("accounts", "cases", "scripts_marketplace")
#: Where backups of the database go.
BACKUP_ROOT = _folder("BACKUP_URL", default=HOME / "backups")
#: The directory of pg_dump, pg_restore and psql; empty: where Debian or the PATH have them.
PG_BIN = env.str("PG_BIN", default="")

# Evidence, index, work --------------------------------------------------------------------------

#: Where evidence lies: a folder, or s3://bucket/prefix.
EVIDENCE_URL: str = env.str("EVIDENCE_URL", default=str(HOME / "evidence"))
#: The folder; with a bucket, where evidence arrives before it goes there.
EVIDENCE_ROOT = (
    HOME / "incoming"
    if EVIDENCE_URL.startswith(SCHEME)
    else _folder("EVIDENCE_URL", default=HOME / "evidence")
)
#: For a bucket: a server that is not Amazon's, its region, keys (unset: looked for where Amazon's tools
#: do), a file of certificates to trust.
EVIDENCE_S3_ENDPOINT = env.str("EVIDENCE_S3_ENDPOINT", default="")
EVIDENCE_S3_REGION = env.str("EVIDENCE_S3_REGION", default="")
EVIDENCE_S3_ACCESS_KEY = env.str("EVIDENCE_S3_ACCESS_KEY", default="")
EVIDENCE_S3_SECRET_KEY = env.str("EVIDENCE_S3_SECRET_KEY", default="")
EVIDENCE_S3_CA = env.str("EVIDENCE_S3_CA", default="")
_check_bucket()
SEARCH_URL = _chosen("SEARCH_URL", "embedded:", ("embedded", "http", "https"))
#: For a search server: a file of certificates to trust, a key instead of user and password, and how
#: many shards a new index of a case has.
SEARCH_CA = env.str("SEARCH_CA", default="")
SEARCH_API_KEY = env.str("SEARCH_API_KEY", default="")
SEARCH_SHARDS = _at_least("SEARCH_SHARDS", 1, default=1)
#: What carries runs to workers: "builtin", or a broker; and a file of certificates to trust there.
TASKS = _broker("TASKS")
TASKS_CA = env.str("TASKS_CA", default="")
#: Memory (bytes) that all readings of one worker together may take; 0: no bound but its concurrency.
WORKER_MEMORY = _at_least("WORKER_MEMORY", 0, default=0)
#: What workers do beside runs for the layers above: the function, and every how many seconds.
CHORES: dict[str, float] = {"cases.discards.finish": 3600, "cases.services.erasure.finish_erasures": 10}
INDEX_ROOT = HOME / "index"
WORK_ROOT = HOME / "work"
DEMO_ROOT = HOME / "demo"

#: Space (bytes) that intake leaves free on the evidence volume.
EVIDENCE_RESERVE = _at_least("EVIDENCE_RESERVE", 0, default=256 * 1024**2)
#: Largest evidence accepted by upload, in bytes.
UPLOAD_LIMIT = _at_least("UPLOAD_LIMIT", 1, default=64 * 1024**3)
#: Bounds of one reading: memory and output in bytes, time in seconds.
RUN_MEMORY = _at_least("RUN_MEMORY", 256 * 1024**2, default=4 * 1024**3)
RUN_OUTPUT = _at_least("RUN_OUTPUT", 1024**2, default=512 * 1024**3)
RUN_SECONDS = _at_least("RUN_SECONDS", 1, default=24 * 3600)
#: How many posted events may wait for the index, of one case and in all, before more are refused.
POSTED_WAITING = _at_least("POSTED_WAITING", 1, default=1_000_000)
POSTED_WAITING_ALL = _at_least("POSTED_WAITING_ALL", 1, default=5_000_000)
#: Evidence of so many bytes is read in pieces, by up to RUN_PARTS processes of this machine in all.
RUN_PART = _at_least("RUN_PART", 1024**2, default=32 * 1024**2)
RUN_PARTS = _at_least("RUN_PARTS", 1, default=min(os.cpu_count() or 1, 4))
#: How long a worker may stay silent before its run is taken up by another, in seconds.
RUN_LEASE = _at_least("RUN_LEASE", 2, default=30)

# Who signs in -----------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
PASSWORD_HASHERS = [
    "accounts.hashers.MachineArgon2Hasher",
    "accounts.hashers.LegacyBCryptPasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("username", "email", "full_name")},
    },
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "start"
LOGOUT_REDIRECT_URL = "login"

#: Roles that may not be used without a second factor; "none" for none.
SECOND_FACTOR_ROLES = _words(
    "SECOND_FACTOR_ROLES", ("superadmin", "admin", "analyst", "viewer"), default="superadmin,admin"
)
#: Who may make an account for themselves: nobody, people with an invitation, everybody.
REGISTRATION = _one_of("REGISTRATION", ("off", "invitation", "open"), default="off")
#: Proxies in front that append to X-Forwarded-For; without any the header counts for nothing.
NUM_PROXIES = _at_least("NUM_PROXIES", 0, default=1 if _flag("BEHIND_PROXY", default=False) else 0)
#: Memory of one password hash in KiB (0: chosen for this machine), and how many run at once.
PASSWORD_MEMORY = _at_least("PASSWORD_MEMORY", 0, default=0)
PASSWORD_CONCURRENCY = _at_least("PASSWORD_CONCURRENCY", 1, default=os.cpu_count() or 1)
#: Days that audit entries are kept; 0: for ever.
AUDIT_RETENTION = _at_least("AUDIT_RETENTION", 0, default=0)
#: What one user may add in all (bytes), and how many runs may wait or work for them; 0: no bound.
QUOTA_STORAGE = _at_least("QUOTA_STORAGE", 0, default=0)
QUOTA_RUNS = _at_least("QUOTA_RUNS", 0, default=0)
#: Which of some case ids a user sees: asked by `accounts`, which knows no cases.
VISIBLE_CASES = "cases.permissions.visible_case_ids"

# The HTTP API -----------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.tokens.BearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.permissions.SignedIn"],
    "DEFAULT_RENDERER_CLASSES": ["datamortem.common.wire.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["datamortem.common.wire.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "datamortem.common.pages.CursorPages",
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "datamortem.common.wire.AlwaysJSON",
    "URL_FORMAT_OVERRIDE": None,  # `format` is a parameter of ours
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_METADATA_CLASS": "datamortem.common.wire.NoMetadata",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "drf_standardized_errors.handler.exception_handler",
    "DATETIME_FORMAT": "%Y-%m-%dT%H:%M:%S.%fZ",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
DRF_STANDARDIZED_ERRORS = {"EXCEPTION_HANDLER_CLASS": "datamortem.common.api.ExceptionHandler"}
SPECTACULAR_SETTINGS = {
    "TITLE": "dataMortem",
    "VERSION": "1",
    "DESCRIPTION": "Evidence in, one searchable timeline out.",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "datamortem.schema.add_errors",
    ],
    "ENUM_NAME_OVERRIDES": {
        "PlatformRole": "accounts.models.Role",
        "CaseRole": "cases.models.CaseRole",
        "TeamRole": [("analyst", "Analyst"), ("reader", "Reader")],
    },
    "SWAGGER_UI_DIST": "SIDECAR",  # nothing is loaded from elsewhere
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

# Transport --------------------------------------------------------------------------------------

_secure = PUBLIC_URL.startswith("https://")
SESSION_ENGINE = "accounts.browser_store"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _secure
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
# A name with this prefix is taken by browsers from this host alone, over HTTPS (RFC 6265bis, 4.1.3.2).
SESSION_COOKIE_NAME = "__Host-sessionid" if _secure else "sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken" if _secure else "csrftoken"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"  # no third cookie
SECURE_SSL_REDIRECT = _secure
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]  # asked from inside, in plain HTTP
SECURE_HSTS_SECONDS = 31_536_000 if _secure else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _secure
SECURE_REFERRER_POLICY = "same-origin"
SECURE_PROXY_SSL_HEADER = (
    ("HTTP_X_FORWARDED_PROTO", "https") if _flag("BEHIND_PROXY", default=False) else None
)
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 32 * 1024**2
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.TemporaryFileUploadHandler"]

STATIC_URL = "/static/"
STATIC_ROOT = _directory(HOME / "static")
STATICFILES_DIRS = [BASE_DIR / "datamortem" / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True  # a laptop needs no collectstatic

# What is counted --------------------------------------------------------------------------------

#: Who may read /metrics from elsewhere: whoever shows this.
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
if 0 < len(METRICS_TOKEN) < 20:
    raise ImproperlyConfigured("METRICS_TOKEN: expected 20 or more random characters.")
# The processes of one server share what they asked; gunicorn.conf.py says where.
_counted = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "metrics": {
        "BACKEND": f"django.core.cache.backends.{'filebased.FileBased' if _counted else 'locmem.LocMem'}"
        "Cache",
        "LOCATION": f"{_counted}/asked" if _counted else "metrics",
    },
}

# Language, time, mail, logs ---------------------------------------------------------------------

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True
FORMAT_MODULE_PATH = "datamortem.formats"

_mail = env.email_url("EMAIL_URL", default="consolemail://")
vars().update(_mail)
if _mail["EMAIL_FILE_PATH"]:  # the library cuts its first slash
    EMAIL_FILE_PATH = _folder("EMAIL_URL", default=HOME, scheme="filemail://")
EMAIL_TIMEOUT = 20  # seconds: a mail server that says nothing holds nobody up
#: Who mails come from.
DEFAULT_FROM_EMAIL = env.str("EMAIL_FROM", default=f"dataMortem <noreply@{urlsplit(PUBLIC_URL).hostname}>")

#: What a line of the log looks like: an object for programs, or words for people.
LOG_FORMAT = _one_of("LOG_FORMAT", ("json", "text"), default="json")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"context": {"()": "datamortem.common.logs.AddContext"}},
    "formatters": {
        "json": {"()": "datamortem.common.logs.JSONFormatter"},
        "text": {"()": "datamortem.common.logs.TextFormatter"},
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["context"]}
    },
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="WARNING")},
    "loggers": {
        "django": {"handlers": [], "propagate": True, "level": env.str("LOG_LEVEL", default="WARNING")},
        # Below this level they tell signed headers and whole answers.
        "boto3": {"level": "WARNING"},
        "botocore": {"level": "WARNING"},
        "s3transfer": {"level": "WARNING"},
    },
}

# The admin --------------------------------------------------------------------------------------


def _entry(title: str, icon: str, name: str) -> dict[str, object]:
    """Return one entry of the admin's menu."""
    return {"title": title, "icon": icon, "link": reverse_lazy(name)}


def _never(request: object) -> bool:
    """Its address is the beginning of every other one, which the theme takes for being there."""
    return False


def _at_cases(request: HttpRequest) -> bool:
    """The list of restricted cases has an entry of its own, below the same address."""
    is_below = request.path.startswith(reverse("admin:cases_case_changelist"))
    return is_below and request.path != reverse("admin:cases_case_restricted")


def _icon(request: object) -> str:
    return static("datamortem/icon.svg")


def _theme(request: object) -> str:
    return static("datamortem/theme.css")


def _panels(request: object) -> str:
    return static("datamortem/admin.css")


def _within_policy(request: object) -> str:
    return static("datamortem/admin.js")


UNFOLD = {
    "SITE_TITLE": "dataMortem",
    "SITE_HEADER": "dataMortem",
    "SITE_SUBHEADER": "Evidence and timelines",
    "SITE_SYMBOL": "biotech",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _icon}],
    "STYLES": [_theme, _panels],
    "SCRIPTS": [_within_policy],
    "ACCOUNT": {"navigation": [{"title": "Your account", "link": reverse_lazy("account")}]},
    "SIDEBAR": {
        "navigation": [
            {
                "title": "Investigation",
                "items": [
                    {**_entry("Cases", "folder_open", "admin:cases_case_changelist"), "active": _at_cases},
                    {
                        **_entry("Restricted cases", "lock", "admin:cases_case_restricted"),
                        "permission": "cases.admin.restricted.may_join",
                    },
                    _entry("Evidence", "inventory_2", "admin:cases_evidence_changelist"),
                    _entry("Runs", "play_circle", "admin:cases_taskrun_changelist"),
                    _entry("Rejected records", "block", "admin:cases_rejectedrecord_changelist"),
                    _entry("Posted events", "upload", "admin:cases_event_changelist"),
                    _entry("Annotations", "sell", "admin:cases_annotation_changelist"),
                    _entry("Annotated at once", "bookmarks", "admin:cases_annotationbatch_changelist"),
                    _entry("Saved searches", "saved_search", "admin:cases_savedsearch_changelist"),
                    _entry("Custody record", "verified_user", "admin:cases_custodyentry_changelist"),
                ],
            },
            {
                "title": "Platform",
                "separator": True,
                "items": [
                    _entry("Modules", "extension", "admin:cases_analysismodule_changelist"),
                    _entry("Scripts", "code", "admin:scripts_marketplace_customscript_changelist"),
                    _entry("Users", "group", "admin:accounts_user_changelist"),
                    _entry("Teams", "groups", "admin:accounts_team_changelist"),
                    _entry("Audit record", "policy", "admin:accounts_auditentry_changelist"),
                    {
                        **_entry("Feature flags", "toggle_on", "admin:accounts_featureflag_changelist"),
                        "permission": "accounts.admin.flags.may_switch",
                    },
                    {**_entry("My timelines", "timeline", "start"), "active": _never},
                ],
            },
        ]
    },
}
