"""Codes of MFA devices: RFC 6238 with SHA-1 and six digits, as AWS has them. Imports nothing of MiniStack."""

import base64
import hashlib
import hmac

STEP = 30


def code(seed: str, step: int) -> str:
    """The code for one step of 30 seconds since 1970. The seed is in base 32."""
    digest = hmac.new(base64.b32decode(seed), step.to_bytes(8, "big"), hashlib.sha1).digest()
    offset = digest[-1] & 15
    return f"{(int.from_bytes(digest[offset : offset + 4], 'big') & 0x7FFFFFFF) % 10**6:06d}"
