"""The admin: accounts, and the parts of the platform that can be switched off."""

from accounts.admin.flags import FlagAdmin
from accounts.admin.users import UserAdmin

__all__ = ["FlagAdmin", "UserAdmin"]
