"""On which addresses a program and all that it started listen."""

import psutil


def listening(pid: int) -> set[str]:
    """IP addresses of the sockets that take connections, or datagrams, from outside the process tree."""
    first = psutil.Process(pid)
    found = set()
    for process in (first, *first.children(recursive=True)):
        for socket in process.net_connections("inet"):
            if socket.status == psutil.CONN_LISTEN or (socket.status == psutil.CONN_NONE and socket.laddr and not socket.raddr):
                found.add(str(socket.laddr.ip))
    return found
