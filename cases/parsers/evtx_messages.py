"""What the best known Windows events mean, in one sentence each, and how they are sorted.

After Microsoft's documentation of security auditing, Sysmon, PowerShell and the services. A
value in braces is taken from the event; where the event has none, the words since the value
before are left out too.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple


class Segment(NamedTuple):
    """A value and the words around it; `always` if those before are said without it as well."""

    before: str
    name: str
    after: str
    always: bool


class Known(NamedTuple):
    """A known event: its category, and the sentence in segments."""

    category: str | None
    segments: tuple[Segment, ...]


#: In these the account that matters is the target, not who asked.
TARGET_FIRST: Final = frozenset(("logon", "logon_failed", "logoff", "authentication"))

#: Of events without a sentence.
CATEGORIES: Final = {
    "Microsoft-Windows-PowerShell": "powershell",
    "PowerShell": "powershell",
    "Microsoft-Windows-TaskScheduler": "scheduled_task",
    "Microsoft-Windows-Windows Defender": "antivirus",
    "Service Control Manager": "service",
    "Microsoft-Windows-WMI-Activity": "wmi",
}

_TABLE: Final = r"""
Microsoft-Windows-Security-Auditing
4608 system Windows is starting up
4616 system The system time was changed by {SubjectUserName}: {PreviousTime} to {NewTime}
4624 logon An account was successfully logged on: {TargetUserName} from {IpAddress} ({WorkstationName}), logon type {LogonType}
4625 logon_failed An account failed to log on: {TargetUserName} from {IpAddress} ({WorkstationName}), logon type {LogonType}, status {Status}/{SubStatus}
4634 logoff An account was logged off: {TargetUserName}, logon type {LogonType}
4647 logoff User initiated logoff: {TargetUserName}
4648 logon A logon was attempted using explicit credentials: {TargetUserName} by {SubjectUserName} at {TargetServerName} with {ProcessName}
4656 object A handle to an object was requested by {SubjectUserName}: {ObjectName} with {ProcessName}
4657 registry A registry value was modified by {SubjectUserName}: {ObjectName} {ObjectValueName} = {NewValue} with {ProcessName}
4660 object An object was deleted by {SubjectUserName} with {ProcessName}
4663 object An attempt was made to access an object by {SubjectUserName}: {ObjectName} with {ProcessName}
4672 privilege Special privileges assigned to new logon: {SubjectUserName}: {PrivilegeList}
4673 privilege A privileged service was called by {SubjectUserName} with {ProcessName}: {PrivilegeList}
4688 process A new process has been created by {SubjectUserName}: {NewProcessName} from {ParentProcessName}, command line {CommandLine}
4689 process A process has exited: {ProcessName} of {SubjectUserName}, status {Status}
4697 service A service was installed by {SubjectUserName}: {ServiceName}, {ServiceFileName}
4698 scheduled_task A scheduled task was created by {SubjectUserName}: {TaskName}: {TaskContent}
4699 scheduled_task A scheduled task was deleted by {SubjectUserName}: {TaskName}
4700 scheduled_task A scheduled task was enabled by {SubjectUserName}: {TaskName}
4701 scheduled_task A scheduled task was disabled by {SubjectUserName}: {TaskName}
4702 scheduled_task A scheduled task was updated by {SubjectUserName}: {TaskName}: {TaskContentNew}
4719 policy System audit policy was changed by {SubjectUserName}: {AuditPolicyChanges}
4720 account A user account was created: {TargetUserName} by {SubjectUserName}
4722 account A user account was enabled: {TargetUserName} by {SubjectUserName}
4723 account An attempt was made to change an account's password: {TargetUserName} by {SubjectUserName}
4724 account An attempt was made to reset an account's password: {TargetUserName} by {SubjectUserName}
4725 account A user account was disabled: {TargetUserName} by {SubjectUserName}
4726 account A user account was deleted: {TargetUserName} by {SubjectUserName}
4728 account A member was added to a security-enabled global group: {TargetUserName}: {MemberName} ({MemberSid}) by {SubjectUserName}
4732 account A member was added to a security-enabled local group: {TargetUserName}: {MemberName} ({MemberSid}) by {SubjectUserName}
4733 account A member was removed from a security-enabled local group: {TargetUserName}: {MemberName} ({MemberSid}) by {SubjectUserName}
4738 account A user account was changed: {TargetUserName} by {SubjectUserName}
4740 account A user account was locked out: {TargetUserName} at {TargetDomainName}
4756 account A member was added to a security-enabled universal group: {TargetUserName}: {MemberName} ({MemberSid}) by {SubjectUserName}
4767 account A user account was unlocked: {TargetUserName} by {SubjectUserName}
4768 authentication A Kerberos authentication ticket was requested: {TargetUserName} from {IpAddress}, status {Status}
4769 authentication A Kerberos service ticket was requested: {TargetUserName} for {ServiceName} from {IpAddress}, status {Status}, encryption {TicketEncryptionType}
4771 authentication Kerberos pre-authentication failed: {TargetUserName} from {IpAddress}, status {Status}
4776 authentication The computer attempted to validate the credentials of {TargetUserName} from {Workstation}, status {Status}
4778 logon A session was reconnected to a window station: {AccountName} from {ClientAddress} ({ClientName})
4779 logoff A session was disconnected from a window station: {AccountName} from {ClientAddress} ({ClientName})
4798 account A user's local group membership was enumerated: {TargetUserName} by {SubjectUserName} with {CallerProcessName}
4799 account A security-enabled local group membership was enumerated: {TargetUserName} by {SubjectUserName} with {CallerProcessName}
5140 network A network share object was accessed: {ShareName} by {SubjectUserName} from {IpAddress}
5145 network A network share object was checked for access: {ShareName} {RelativeTargetName} by {SubjectUserName} from {IpAddress}
5156 network The Windows Filtering Platform has permitted a connection: {Application} {SourceAddress}:{SourcePort} to {DestAddress}:{DestPort}
5157 network The Windows Filtering Platform has blocked a connection: {Application} {SourceAddress}:{SourcePort} to {DestAddress}:{DestPort}
Microsoft-Windows-Eventlog
104 log_cleared The {UserData.Channel} log file was cleared by {SubjectUserName}
1100 system The event logging service has shut down
1102 log_cleared The audit log was cleared by {SubjectUserName}
Microsoft-Windows-Sysmon
1 process Process created: {Image} from {ParentImage}, command line {CommandLine}
2 file A process changed a file creation time: {Image}: {TargetFilename} from {PreviousCreationUtcTime} to {CreationUtcTime}
3 network Network connection: {Image} {SourceIp}:{SourcePort} to {DestinationIp}:{DestinationPort} {DestinationHostname}
4 service Sysmon service state changed: {State}
5 process Process terminated: {Image}
6 driver Driver loaded: {ImageLoaded}, signature {Signature}
7 process Image loaded: {ImageLoaded} by {Image}
8 process CreateRemoteThread: {SourceImage} into {TargetImage}
9 file RawAccessRead: {Image} of {Device}
10 process Process accessed: {TargetImage} by {SourceImage}, access {GrantedAccess}
11 file File created: {TargetFilename} by {Image}
12 registry Registry object {EventType}: {TargetObject} by {Image}
13 registry Registry value set: {TargetObject} = {Details} by {Image}
14 registry Registry object renamed: {TargetObject} to {NewName} by {Image}
15 file File stream created: {TargetFilename} by {Image}: {Contents}
16 policy Sysmon configuration changed: {Configuration}
17 pipe Pipe created: {PipeName} by {Image}
18 pipe Pipe connected: {PipeName} by {Image}
19 wmi WMI event filter {Operation}: {Name}: {Query}
20 wmi WMI event consumer {Operation}: {Name}: {Destination}
21 wmi WMI consumer bound to filter {Operation}: {Consumer}: {Filter}
22 network DNS query: {QueryName} by {Image}: {QueryResults}
23 file File deleted (archived): {TargetFilename} by {Image}
25 process Process tampering: {Image}: {Type}
26 file File deleted: {TargetFilename} by {Image}
Microsoft-Windows-PowerShell
4103 powershell PowerShell module logging: {Payload}
4104 powershell PowerShell script block: {ScriptBlockText} {Path}
PowerShell
400 powershell The PowerShell engine state changed: {Data}
403 powershell The PowerShell engine stopped: {Data}
600 powershell A PowerShell provider started: {Data}
800 powershell PowerShell pipeline execution: {Data}
Service Control Manager
7034 service The {param1} service terminated unexpectedly
7036 service The {param1} service entered the {param2} state
7040 service The start type of the {param1} service was changed from {param2} to {param3}
7045 service A service was installed: {ServiceName}, {ImagePath}, account {AccountName}
EventLog
6005 system The Event log service was started
6006 system The Event log service was stopped
6008 system The previous system shutdown was unexpected
User32
1074 system {param1} has initiated a {param5} on behalf of {param7}: {param3}
Microsoft-Windows-TaskScheduler
106 scheduled_task A task was registered: {TaskName} by {UserContext}
140 scheduled_task A task was updated: {TaskName} by {UserName}
141 scheduled_task A task was deleted: {TaskName} by {UserName}
200 scheduled_task A task action started: {TaskName}: {ActionName}
201 scheduled_task A task action completed: {TaskName}: {ActionName}, result {ResultCode}
Microsoft-Windows-TerminalServices-LocalSessionManager
21 logon Remote Desktop session logon: {User} from {Address}, session {SessionID}
22 logon Remote Desktop shell start: {User} from {Address}, session {SessionID}
23 logoff Remote Desktop session logoff: {User}, session {SessionID}
24 logoff Remote Desktop session disconnected: {User} from {Address}, session {SessionID}
25 logon Remote Desktop session reconnected: {User} from {Address}, session {SessionID}
Microsoft-Windows-TerminalServices-RemoteConnectionManager
1149 logon Remote Desktop network connection: {Param1} {Param2} from {Param3}
Microsoft-Windows-Windows Defender
1116 antivirus Malware was detected: {Threat Name} in {Path} by {Process Name}
1117 antivirus An action against malware was taken: {Threat Name} in {Path}: {Action Name}
5001 antivirus Real-time protection was disabled
Microsoft-Windows-Bits-Client
59 network BITS started a transfer: {name} from {url}
Microsoft-Windows-Windows Firewall With Advanced Security
2004 firewall A rule was added: {RuleName} for {ApplicationPath}
2006 firewall A rule was deleted: {RuleName}
"""  # noqa: E501 - one event a line

_VALUE: Final = re.compile(r"\{([^}]+)\}(\)?)")


def _segments(sentence: str) -> tuple[Segment, ...]:
    """Cut a sentence before each value; a bracket that is closed behind a value goes with it."""
    pieces = _VALUE.split(sentence)
    values = zip(pieces[::3], pieces[1::3], pieces[2::3], strict=False)
    found = [Segment(before, name, after, not number) for number, (before, name, after) in enumerate(values)]
    if pieces[-1]:
        found.append(Segment(pieces[-1], "", "", True))
    return tuple(found)


def _read_table() -> dict[tuple[str, int], Known]:
    known = {}
    provider = ""
    for line in _TABLE.strip().splitlines():
        if not line[0].isdigit():
            provider = line
            continue
        number, category, sentence = line.split(" ", 2)
        known[provider, int(number)] = Known(category, _segments(sentence))
    return known


#: By the name of the provider and the number of the event.
SENTENCES: Final = _read_table()
