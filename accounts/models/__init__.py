"""Who works here, how they prove it, and what they may use."""

from accounts.models.api_token import ApiToken
from accounts.models.audit import AuditEntry
from accounts.models.idempotency import IdempotentAnswer
from accounts.models.invitation import Invitation
from accounts.models.limits import FeatureFlag, RequestCounter, UserQuota
from accounts.models.mail import OutgoingMail
from accounts.models.second_factor import RecoveryCode, RecoveryDevice, TotpDevice
from accounts.models.session import AuthSession, PasswordReset, SpentChallenge
from accounts.models.team import Team, TeamMember
from accounts.models.user import Role, User, UserManager

__all__ = [
    "ApiToken",
    "AuditEntry",
    "AuthSession",
    "FeatureFlag",
    "IdempotentAnswer",
    "Invitation",
    "OutgoingMail",
    "PasswordReset",
    "RecoveryCode",
    "RecoveryDevice",
    "RequestCounter",
    "Role",
    "SpentChallenge",
    "Team",
    "TeamMember",
    "TotpDevice",
    "User",
    "UserManager",
    "UserQuota",
]
