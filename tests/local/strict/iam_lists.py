"""What ListRoles and ListUsers return, and in how many pages.

AWS (IAM API Reference, ListRoles and ListUsers): neither tags nor boundary are returned; GetRole and GetUser have
them. Without MaxItems a page has 100 items; IsTruncated and Marker lead to the next.
"""

import re
from typing import Any

from ministack.services import iam

_DEFAULT_PAGE = 100


def _list(operation: str, element: str, store: Any, as_xml, parameters: dict[str, Any]):
    prefix = iam._p(parameters, "PathPrefix") or "/"
    marker = iam._p(parameters, "Marker")
    page = int(iam._p(parameters, "MaxItems") or _DEFAULT_PAGE)
    names = sorted(name for name, entity in store.items() if entity.get("Path", "/").startswith(prefix) and name > marker)
    shown = names[:page]
    members = "".join(
        f"<member>{re.sub(r'<Tags>.*?</Tags>', '', as_xml(name, boundary=False), flags=re.DOTALL)}</member>" for name in shown
    )
    more = (
        f"<IsTruncated>true</IsTruncated><Marker>{shown[-1]}</Marker>"
        if len(names) > page
        else "<IsTruncated>false</IsTruncated>"
    )
    result = f"<{operation}Result><{element}>{members}</{element}>{more}</{operation}Result>"
    return iam._xml(200, f"{operation}Response", result, ns="iam")


def apply() -> None:
    iam._IAM_HANDLERS["ListRoles"] = lambda parameters: _list("ListRoles", "Roles", iam._roles, iam._role_xml, parameters)
    iam._IAM_HANDLERS["ListUsers"] = lambda parameters: _list("ListUsers", "Users", iam._users, iam._user_xml, parameters)
