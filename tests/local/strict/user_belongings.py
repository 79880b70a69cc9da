"""What a user may have, and what has to go before it can be deleted.

AWS (IAM API Reference, DeleteUser): a password, access keys, signing certificates, SSH public keys, service-specific
credentials, MFA devices, inline policies, attached policies and group memberships have to be removed first; else the
answer is DeleteConflict. MiniStack knows no signing certificates, SSH keys and service-specific credentials, and looks
at attached policies and access keys alone.
"""

from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape

from ministack.core.responses import AccountScopedDict, new_uuid
from ministack.services import iam

from . import query_protocol

# For each kind: operations to make, list and delete; the element that the answer lists; the id's name; where they are.
_KINDS = (
    ("UploadSSHPublicKey", "ListSSHPublicKeys", "DeleteSSHPublicKey", "SSHPublicKey", "SSHPublicKeys", "SSHPublicKeyId"),
    (
        "UploadSigningCertificate",
        "ListSigningCertificates",
        "DeleteSigningCertificate",
        "Certificate",
        "Certificates",
        "CertificateId",
    ),
    (
        "CreateServiceSpecificCredential",
        "ListServiceSpecificCredentials",
        "DeleteServiceSpecificCredential",
        "ServiceSpecificCredential",
        "ServiceSpecificCredentials",
        "ServiceSpecificCredentialId",
    ),
)
_KEPT = {kind[3]: AccountScopedDict() for kind in _KINDS}


def _xml(operation: str, result: str = "") -> Any:
    body = f"<{operation}Result>{result}</{operation}Result>" if result else ""
    return iam._xml(200, f"{operation}Response", body, ns="iam")


def _no_user(name: str) -> query_protocol.Response | None:
    if name in iam._users:
        return None
    return query_protocol.error(404, "NoSuchEntity", f"The user with name {name} cannot be found.", "iam")


def _members(element: str, id_name: str, user: str) -> Iterator[str]:
    for found, kept in _KEPT[element].items():
        if kept["UserName"] == user:
            # All that the SDKs' models require of the three.
            yield (
                f"<UserName>{escape(user)}</UserName><{id_name}>{found}</{id_name}><Status>Active</Status>"
                f"<UploadDate>{kept['Date']}</UploadDate><CreateDate>{kept['Date']}</CreateDate>"
                "<CertificateBody>x</CertificateBody><SSHPublicKeyBody>x</SSHPublicKeyBody><Fingerprint>x</Fingerprint>"
                "<ServiceName>codecommit.amazonaws.com</ServiceName><ServiceUserName>x</ServiceUserName>"
                "<ServicePassword>x</ServicePassword>"
            )


def _operations(make: str, list_all: str, delete: str, element: str, plural: str, id_name: str) -> dict[str, Any]:
    def made(parameters: dict[str, Any]) -> Any:
        user = iam._p(parameters, "UserName")
        found = new_uuid().replace("-", "")[:24].upper()
        missing = _no_user(user)
        if missing:
            return missing
        _KEPT[element][found] = {"UserName": user, "Date": iam._now()}
        shown = next(text for text in _members(element, id_name, user) if found in text)
        return _xml(make, f"<{element}>{shown}</{element}>")

    def listed(parameters: dict[str, Any]) -> Any:
        user = iam._p(parameters, "UserName")
        members = "".join(f"<member>{text}</member>" for text in _members(element, id_name, user))
        return _no_user(user) or _xml(list_all, f"<{plural}>{members}</{plural}><IsTruncated>false</IsTruncated>")

    def deleted(parameters: dict[str, Any]) -> Any:
        found = iam._p(parameters, id_name)
        if _KEPT[element].pop(found, None) is None:
            return query_protocol.error(404, "NoSuchEntity", f"The {element} with id {found} cannot be found.", "iam")
        return _xml(delete)

    return {make: made, list_all: listed, delete: deleted}


def _burdens(user: str) -> Iterator[str]:
    if user in iam._login_profiles:
        yield "login profile"
    if any(device.get("User") == user for device in iam._mfa_devices.values()):
        yield "MFA device"
    if any(user in group["Users"] for group in iam._groups.values()):
        yield "group"
    if iam._user_inline_policies.get(user):
        yield "policies"
    for element, kept in _KEPT.items():
        if any(one["UserName"] == user for one in kept.values()):
            yield element


def apply() -> None:
    for kind in _KINDS:
        iam._IAM_HANDLERS.update(_operations(*kind))
    delete_user = iam._IAM_HANDLERS["DeleteUser"]

    def delete_bare_user(parameters: dict[str, Any]) -> Any:
        for burden in _burdens(iam._p(parameters, "UserName")):
            return query_protocol.error(409, "DeleteConflict", f"Cannot delete entity, must remove {burden} first.", "iam")
        return delete_user(parameters)

    iam._IAM_HANDLERS["DeleteUser"] = delete_bare_user
