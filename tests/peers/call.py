"""A gRPC client that is not ours: one call over TLS, its message in hexadecimal, printing the status code.

    call.py ADDRESS METHOD MESSAGE CA [CERT KEY]
"""

import sys

import grpc


def main() -> None:
    address, method, message, ca, *pair = sys.argv[1:]
    read = lambda path: open(path, "rb").read()
    cert, key = map(read, pair) if pair else (None, None)
    credentials = grpc.ssl_channel_credentials(read(ca), key, cert)
    with grpc.secure_channel(address, credentials) as channel:
        try:
            for _ in channel.unary_stream(method)(bytes.fromhex(message), timeout=60):
                pass
            print("OK")
        except grpc.RpcError as error:
            print(error.code().name)


main()
