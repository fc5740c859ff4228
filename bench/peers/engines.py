"""The engines that every router stands before, and what they say of themselves."""

import re
import urllib.request

from processes import Server, free_ports

HEALTH = re.compile(r'^http_requests_total\{.*handler="([^"]*)".*\} (\S+)$', re.M)


class Engines:
    """`count` fresh `prefixgate engine` processes."""

    def __init__(self, tools, count, folder, arguments):
        self.ports = free_ports(count)
        self.servers = []
        for port in self.ports:
            command = [tools.prefixgate, "engine", "--port", str(port), "--enable-prompt-tokens-details", *arguments]
            self.servers.append(Server(f"engine {port}", command, f"{folder}/engine.log"))
        for port, server in zip(self.ports, self.servers):
            server.wait_for(f"http://127.0.0.1:{port}/health")

    def metrics(self, port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
            return response.read().decode()

    def total(self, name):
        """One counter, per engine; 0 where it does not answer."""
        found = []
        for port in self.ports:
            try:
                page = self.metrics(port)
            except OSError:
                found.append(0.0)
                continue
            values = re.findall(rf"^{re.escape(name)}(?:\{{[^\n]*\}})? (\S+)$", page, re.M)
            found.append(sum(map(float, values)))
        return found

    def calls(self):
        """HTTP requests by handler, over all engines."""
        counts = {}
        for port in self.ports:
            for handler, value in HEALTH.findall(self.metrics(port)):
                counts[handler] = counts.get(handler, 0.0) + float(value)
        return counts

    def cpu_s(self):
        return sum(server.cpu_s() for server in self.servers)

    def stop(self):
        for server in self.servers:
            server.stop(grace_s=2)
