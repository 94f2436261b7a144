"""Begun with every Python of the trial: a lease outlives its silent owner by seconds, not by the minute that one would wait."""

from resources.leases.leases import Leases

(Leases.__init__.__kwdefaults__ or {}).update(heartbeat_s=2.0, time_to_live_s=10.0)
