"""A proxy as companies have it, for the end-to-end tests: it ends TLS with certificates of its own authority, looks at what goes
through, and passes it on, here to the local AWS.

    tls_proxy.py <host:port of the local AWS> <where to write the authority's certificate>

The first line on standard output is the port; then one line for each CONNECT.
"""

import datetime
import pathlib
import socket
import ssl
import sys
import tempfile
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Makes certificates for whatever host is asked for."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "private authority")])
        self.certificate = self._sign(self.name, self.key.public_key(), x509.BasicConstraints(ca=True, path_length=None))

    def _sign(self, name: x509.Name, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self.name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1)).add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def context(self, host: str) -> ssl.SSLContext:
        """TLS as this host."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = self._sign(name, key.public_key(), x509.SubjectAlternativeName([x509.DNSName(host)]))
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as file:
            file.write(certificate.public_bytes(serialization.Encoding.PEM) + private)
            file.flush()
            context.load_cert_chain(file.name)
        return context


def pipe(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(client: socket.socket, authority: Authority, target: tuple[str, int]) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(1)
    method, place = head.decode().split()[:2]
    assert method == "CONNECT", head
    print(f"CONNECT {place}", flush=True)
    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    try:
        inside = authority.context(place.split(":")[0]).wrap_socket(client, server_side=True)
    except ssl.SSLError:
        # The client does not trust the authority.
        return
    outside = socket.create_connection(target)
    threading.Thread(target=pipe, args=(outside, inside), daemon=True).start()
    pipe(inside, outside)


def main() -> None:
    host, port = sys.argv[1].split(":")
    authority = Authority()
    pathlib.Path(sys.argv[2]).write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client, authority, (host, int(port))), daemon=True).start()


if __name__ == "__main__":
    main()
