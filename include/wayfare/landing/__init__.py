"""Ways in: files, standard input, queues and HTTP messages, decoded, checked and handed to staging in batches.

Foreign rows become events by a mapping.

Belongs here: reading, decoding, checking, and what becomes of a line that is not an event. Does not: the transaction
that stages a batch (see `wayfare.staging.batches`).
"""

from wayfare.landing.files import land
from wayfare.landing.rejected import counted, rejections, replay
from wayfare.staging.incoming import Landed

__all__ = ["Landed", "counted", "land", "rejections", "replay"]
