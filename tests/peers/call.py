"""A gRPC client that is not ours: one call without a body, over TLS, printing the status code.

    call.py ADDRESS METHOD CA [CERT KEY]
"""

import sys

import grpc


def main() -> None:
    address, method, ca, *pair = sys.argv[1:]
    read = lambda path: open(path, "rb").read()
    cert, key = map(read, pair) if pair else (None, None)
    credentials = grpc.ssl_channel_credentials(read(ca), key, cert)
    with grpc.secure_channel(address, credentials) as channel:
        try:
            channel.unary_unary(method)(b"", timeout=10)
            print("OK")
        except grpc.RpcError as error:
            print(error.code().name)


main()
