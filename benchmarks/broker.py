"""A real Kafka broker for a minute: one process that is broker and controller, from the jars of ``make kafka``."""

import base64
import shutil
import subprocess
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.embedded import java
from deploy.embedded.checks import free_port

JARS = Path(__file__).absolute().parents[1] / "deploy/kafka/jars"
PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},SASL://127.0.0.1:{sasl}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL://127.0.0.1:{sasl}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT
listener.name.sasl.sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  user_nightshelf="{password}";
log.dirs={folder}/logs
auto.create.topics.enable=false
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"""
META = """version=1
cluster.id={cluster}
node.id=1
directory.id={directory}
"""
LOG4J = """
rootLogger.level=warn
rootLogger.appenderRef.c.ref=C
appender.c.type=Console
appender.c.name=C
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=%d %p %c %m%n
"""
PASSWORD = "hush"  # of nightshelf, on the listener that asks for one
UP_S = 180  # on a busy machine; a tenth of it on a quiet one


def random_id() -> str:
    """As Kafka writes its UUIDs."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


class Broker:
    """A broker on a port of its own, in a folder of its own; ``servers`` is what clients are told, ``sasl_servers``
    those that have a password.

    Raises:
        RuntimeError: it does not come up; with the end of its log.
    """

    def __init__(self, memory_mb: int = 256) -> None:
        self.memory_mb = memory_mb
        self.folder = Path(tempfile.mkdtemp(prefix="ns-kafka-"))
        port, controller, sasl = free_port(), free_port(), free_port()
        self.servers, self.sasl_servers = f"127.0.0.1:{port}", f"127.0.0.1:{sasl}"
        properties = self.folder / "server.properties"
        places = {"port": port, "controller": controller, "sasl": sasl, "folder": self.folder}
        properties.write_text(PROPERTIES.format(password=PASSWORD, **places))
        (self.folder / "log4j2.properties").write_text(LOG4J)
        # What `kafka-storage format` writes, without the seconds its JVM takes.
        (self.folder / "logs").mkdir()
        identity = META.format(cluster=random_id(), directory=random_id())
        (self.folder / "logs" / "meta.properties").write_text(identity)
        self.process = self.java("kafka.Kafka", str(properties))
        self.await_answer()

    def java(self, *words: str) -> subprocess.Popen:
        """Compiled only lightly: it lives for a minute."""
        options = [f"-Xmx{self.memory_mb}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        options += [f"-Dlog4j2.configurationFile={self.folder}/log4j2.properties", "-cp", f"{JARS}/*"]
        argv = [str(Path(java.find_java_home(), "bin", "java")), *options, *words]
        with open(self.folder / "out.log", "a") as log:
            return subprocess.Popen(argv, stdout=log, stderr=log)

    def await_answer(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})
        deadline = time.monotonic() + UP_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(KafkaException):
                admin.list_topics(timeout=1)
                return
        told = (self.folder / "out.log").read_text()[-2000:]
        self.close()
        raise RuntimeError(f"the Kafka broker is not up after {UP_S} s: {told}")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
