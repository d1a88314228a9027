"""The servers the tests and the demo talk to: real MariaDB, real MySQL, real Kafka, Kafka Connect; run privately.

Nothing is installed on the machine, no root and no container engine is needed: the
databases are Debian packages unpacked into a cache folder and run through their own
loader, Kafka and Connect are folders of jars. Only the standard library is used, because this runs
before any virtual environment exists (``python3 infra/stack up``).

What there is, from the ground up:

=============  ==============================================================================
``tools``      errors with hints, foreign programs, "try once more"
``progress``   what is printed while it runs
``places``     where everything lies, locks, free ports
``processes``  finding, starting and ending processes that are really ours
``debian``     packages of a Debian suite -> an unpacked, runnable folder
``maven``      coordinates -> a folder of jars
``databases``  how MariaDB and MySQL are initialised, started and asked
``kafka``      the same for Kafka
``connect``    the same for Kafka Connect with Debezium, which needs a Kafka
``instance``   one server: ports, data, start, stop, kill; what crash tests use
``stack``      the shared servers together, ``.stack/env``
``cli``        up, fetch, down, status, reset
=============  ==============================================================================

A new server (another MariaDB) is one more object with the methods of
``instance.Kind`` in ``instance.KINDS``, and a name in ``stack.SHARED`` if ``up`` starts it.

A test that wants to hurt a server takes one of its own::

    from infra.stack import Instance

    with Instance.extra("mariadb-crash", "mariadb", options=["--binlog-format=STATEMENT"]) as server:
        server.kill()      # SIGKILL
        server.start()     # the same data and port
"""

from infra.stack.instance import Instance
from infra.stack.places import Places
from infra.stack.tools import StackError

__all__ = ["Instance", "Places", "StackError"]
