"""A server on this machine that counts who calls: nothing may, unless the user wrote its address."""

import socket
import threading


class Server:
    """Answers every request with 404.

    address: as in http://127.0.0.1:4321.
    calls: connections so far.
    """

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.calls = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            self.calls += 1
            with caller:
                caller.settimeout(5)
                caller.recv(1000)
                caller.sendall(b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def close(self) -> None:
        self._socket.close()
