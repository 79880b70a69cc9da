"""The vault's format v1, written a second time from `docs/vault-format.md` with Python's `cryptography` and `argon2-cffi`.

Nothing is shared with `crates/vault`: what one writes, the other must open. The tests there run it.

    python tests/local/vault_independent.py open   < request.json    {"file", "seed"?, "passphrase"?} -> {"body", "steps"}
    python tests/local/vault_independent.py make   < request.json    {"fixed": {...}, "body"} -> {"file"}
    python tests/local/vault_independent.py cache  < request.json    {"file", "cache", "seed"} -> {"body"}
    python tests/local/vault_independent.py code   < request.json    {"bits"} -> {"code"}

Byte strings are hexadecimal in requests and answers, files are text. `seed` is the 32-byte secret of RFC 8032.
"""

import base64
import hashlib
import json
import sys
from typing import Any

from argon2.low_level import ARGON2_VERSION, Type, hash_secret_raw
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ZERO_NONCE = bytes(12)
DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"


def string(value: bytes) -> bytes:
    """`str(x)` of the format, and SSH's."""
    return len(value).to_bytes(4, "big") + value


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def hkdf(salt: bytes, material: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt, info).derive(material)


def public_blob(seed: bytes) -> bytes:
    raw = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return string(b"ssh-ed25519") + string(raw)


def ssh_slot_key(seed: bytes, vault: bytes, slot: bytes, blob: bytes, salt: bytes) -> tuple[bytes, bytes, bytes]:
    """Message `M`, signature `S` and the key that wraps."""
    message = b"".join(map(string, (b"sorry vault v1 ssh slot", vault, slot, blob, salt)))
    parts = (b"vault@sorry.invalid", b"", b"sha512", hashlib.sha512(message).digest())
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(b"SSHSIG" + b"".join(map(string, parts)))
    return message, signature, hkdf(salt, signature, b"sorry vault v1 ssh slot key")


def passphrase_slot_key(
    passphrase: bytes, vault: bytes, slot: bytes, cost: tuple[int, int, int], salt: bytes
) -> tuple[bytes, bytes, bytes]:
    """Message `M2`, argon2id's output `A` and the key that wraps."""
    m_kib, t, p = cost
    stretched = hash_secret_raw(
        passphrase, salt, time_cost=t, memory_cost=m_kib, parallelism=p, hash_len=32, type=Type.ID, version=ARGON2_VERSION
    )
    packed = b"".join(number.to_bytes(4, "big") for number in cost)
    message = b"".join(map(string, (b"sorry vault v1 passphrase slot", vault, slot, packed, salt)))
    return message, stretched, hkdf(salt, stretched, b"sorry vault v1 passphrase slot key")


def check_sum(file: bytes) -> None:
    covered, tail = file.split(b',"sum":"')
    if tail != b64(hashlib.sha256(covered).digest()).encode() + b'"}\n':
        raise SystemExit("the sum does not fit")


def header_of(file: bytes) -> bytes:
    mark = b',"payload":"'
    return file[: file.index(mark) + len(mark)]


def data_key(file: bytes, request: dict[str, Any], steps: dict[str, str]) -> bytes:
    vault = json.loads(file)
    identity = bytes.fromhex(vault["id"])
    for slot in vault["slots"]:
        slot_id, salt = bytes.fromhex(slot["id"]), base64.b64decode(slot["salt"])
        if slot["kind"] == "ssh-ed25519" and "seed" in request:
            seed = bytes.fromhex(request["seed"])
            blob = base64.b64decode(slot["public_key"])
            if blob != public_blob(seed):
                continue
            message, signature, kek = ssh_slot_key(seed, identity, slot_id, blob, salt)
            steps |= {"S": signature.hex(), "KEK ssh": kek.hex()}
        elif slot["kind"] == "passphrase" and "passphrase" in request:
            cost = (slot["m_kib"], slot["t"], slot["p"])
            message, stretched, kek = passphrase_slot_key(request["passphrase"].encode(), identity, slot_id, cost, salt)
            steps |= {"argon2id": stretched.hex(), "KEK pass": kek.hex()}
        else:
            continue
        return AESGCM(kek).decrypt(ZERO_NONCE, base64.b64decode(slot["wrapped"]), message)
    raise SystemExit("no slot fits")


def unseal(file: bytes, key: bytes) -> bytes:
    return AESGCM(key).decrypt(ZERO_NONCE, base64.b64decode(json.loads(file)["payload"]), header_of(file))


def open_vault(request: dict[str, Any]) -> dict[str, Any]:
    file, steps = request["file"].encode(), {}
    check_sum(file)
    dek = data_key(file, request, steps)
    payload_key = hkdf(base64.b64decode(json.loads(file)["salt"]), dek, b"sorry vault v1 payload key")
    steps |= {"PK": payload_key.hex(), "DEK": dek.hex()}
    return {"body": unseal(file, payload_key).hex(), "steps": steps}


def open_cache(request: dict[str, Any]) -> dict[str, Any]:
    cache = request["cache"].encode()
    check_sum(cache)
    dek = data_key(request["file"].encode(), request, {})
    key = hkdf(base64.b64decode(json.loads(cache)["salt"]), dek, b"sorry vault v1 cache key")
    return {"body": unseal(cache, key).hex()}


def finish(header: str, body: bytes, key: bytes) -> str:
    covered = header + b64(AESGCM(key).encrypt(ZERO_NONCE, body, header.encode())) + '"'
    return f'{covered},"sum":"{b64(hashlib.sha256(covered.encode()).digest())}"}}\n'


def make_vault(request: dict[str, Any]) -> dict[str, Any]:
    fixed = request["fixed"]
    vault, dek, salt = (bytes.fromhex(fixed[name]) for name in ("id", "data_key", "salt"))
    slots = []
    for slot in fixed["slots"]:
        slot_id, slot_salt = bytes.fromhex(slot["id"]), bytes.fromhex(slot["salt"])
        if "seed" in slot:
            blob = public_blob(bytes.fromhex(slot["seed"]))
            message, _, kek = ssh_slot_key(bytes.fromhex(slot["seed"]), vault, slot_id, blob, slot_salt)
            middle = {"kind": "ssh-ed25519", "id": slot["id"], "label": slot["label"], "public_key": b64(blob)}
        else:
            cost = (slot["m_kib"], slot["t"], slot["p"])
            message, _, kek = passphrase_slot_key(slot["passphrase"].encode(), vault, slot_id, cost, slot_salt)
            middle = {"kind": "passphrase", "id": slot["id"], "label": slot["label"]}
            middle |= dict(zip(("m_kib", "t", "p"), cost, strict=True))
        wrapped = AESGCM(kek).encrypt(ZERO_NONCE, dek, message)
        slots.append({**middle, "salt": b64(slot_salt), "wrapped": b64(wrapped)})
    members = {
        "format": "sorry-vault",
        "version": 1,
        "id": fixed["id"],
        "generation": fixed["generation"],
        "written": fixed["written"],
        "slots": slots,
        "salt": b64(salt),
        "payload": "",
    }
    header = json.dumps(members, separators=(",", ":")).removesuffix('"}')
    payload_key = hkdf(salt, dek, b"sorry vault v1 payload key")
    return {"file": finish(header, bytes.fromhex(request["body"]), payload_key)}


def recovery_code(request: dict[str, Any]) -> dict[str, Any]:
    bits = bytes.fromhex(request["bits"])
    check = int.from_bytes(hashlib.sha256(b"sorry recovery code v1" + bits).digest()[:2], "big") >> 4
    number = int.from_bytes(bits, "big") << 12 | check
    digits = "".join(DIGITS[number >> 5 * (27 - at) & 31] for at in range(28))
    return {"code": "-".join(digits[at : at + 4] for at in range(0, 28, 4))}


if __name__ == "__main__":
    commands = {"open": open_vault, "make": make_vault, "cache": open_cache, "code": recovery_code}
    json.dump(commands[sys.argv[1]](json.load(sys.stdin)), sys.stdout)
