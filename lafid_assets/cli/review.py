"""`lafid review`: the page on which clips are watched and marked, for this machine's browser.

Belongs here: the server's start and end. Not here: what it answers (`review.app`).
"""

import getpass
import socket
import webbrowser

from lafid_assets.cli.display import CONSOLE, ERRORS
from lafid_assets.cli.ui import refuse_busy_port
from lafid_assets.lake import open_lake
from lafid_assets.review.app import Review
from lafid_assets.review.video import FOLDER, EncodedClips
from lafid_assets.schemas import FACE_CLIPS
from resources.settings import Settings

HOST = "127.0.0.1"
USUAL_PORT = 3300
LOOPBACK = (HOST, "localhost", "::1")


def run_review(
    settings: Settings, host: str, port: int | None, shard: str | None, marker: str | None, *, read_only: bool, browser: bool
) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        host: the address to listen on.
        port: None: the usual one, or any other where that is taken.
        shard: the only one to go through.
        marker: the name that marks bear; the user's name on this machine when None.
        read_only: whether nobody may mark.
        browser: whether to open the page.
    """
    import uvicorn

    lake = open_lake(settings, read_only=True)
    shards = sorted({name for _, name in lake.stamps([FACE_CLIPS.name])})
    if shard is not None and shard not in shards:
        raise ValueError(f"there is no shard {shard!r} that was looked at: there are {', '.join(shards[:5]) or 'none'}")
    if not read_only:
        lake.close()
        lake = open_lake(settings)
    refuse_busy_port(host, port or 0, "--port")
    name = None if read_only else marker or _own_name()
    encoded = EncodedClips(settings.home / FOLDER)
    review = Review(lake, encoded, name, shard, {*LOOPBACK, host, socket.gethostname(), socket.getfqdn()})
    if host not in LOOPBACK:
        ERRORS.print(f"whoever reaches {host} sees the clips and can mark them: there is no password here", style="yellow")
    with _listening(host, port) as listening:
        address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
        CONSOLE.print(f"Review page  {address}")
        CONSOLE.print(f"Marks are {name}'s. Ctrl-C ends it." if name else "Nobody can mark. Ctrl-C ends it.")
        if browser:
            webbrowser.open(address)
        config = uvicorn.Config(review.application(), log_level="warning", lifespan="off", timeout_graceful_shutdown=3)
        uvicorn.Server(config).run(sockets=[listening])
    lake.close()


def _own_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:  # such as a container's user, a number that has no name
        raise ValueError("this machine knows no name of yours, which marks would bear: give one with --as") from error


def _listening(host: str, port: int | None) -> socket.socket:
    """A socket at the named port; without one at the usual, or at any other where that is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, USUAL_PORT if port is None else port), family=family)
    except OSError:
        if port is not None:
            raise
        return socket.create_server((host, 0), family=family)
