"""Kafka Connect, looked after from files: its REST side, manifests, plan and apply.

=============  ==============================================================================
``answers``    what Connect answers, as models
``verdict``    what an answer means: a body, another try, one of our errors; pure
``wire``       one request, whatever happens on the way; the only module that knows httpx
``client``     one method for each endpoint
``secret``     what must not be shown
``testing``    a Connect cluster in memory, for tests
=============  ==============================================================================
"""

from cdc.connect.client import Client
from cdc.connect.wire import Address

__all__ = ["Address", "Client"]
