# SPDX-License-Identifier: Apache-2.0
"""A TCP relay that a test can partition: one thread, every connection it took.

    relay = Relay(target_port)      # listens on relay.port
    relay.hold("up")                # nothing passes from the dialler to the target; bytes wait, as packets resent would
    relay.hold("down")              # nothing passes back; both: a partition
    relay.heal()                    # what waited arrives, late
    relay.cut()                     # connections break; new ones are taken and hang until heal()

What is held is late and not lost: TCP would send it again, and late messages are what a zombie sends.
"""
import selectors
import socket
import threading

BLOCK = 1 << 16


class Relay:
    def __init__(self, target):
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.held = set()
        self.pairs = {}  # socket -> (its peer, "up" or "down")
        self.pending = []  # taken while nothing passes
        self.lock = threading.Lock()
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.closing = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def hold(self, *directions):
        with self.lock:
            self.held |= set(directions)
            self.watch()

    def heal(self):
        with self.lock:
            self.held.clear()
            for near in self.pending:
                self.connect(near)
            self.pending.clear()
            self.watch()

    def cut(self):
        with self.lock:
            self.held |= {"up", "down"}
            for one in list(self.pairs):
                self.drop(one)

    def close(self):
        self.closing = True
        self.thread.join()
        with self.lock:
            for one in list(self.pairs) + self.pending:
                one.close()
            self.listener.close()

    # ---- under the lock
    def watch(self):
        """Only sockets whose direction passes are read."""
        for one, (_, direction) in self.pairs.items():
            registered = one in self.selector.get_map()
            if direction in self.held and registered:
                self.selector.unregister(one)
            elif direction not in self.held and not registered:
                self.selector.register(one, selectors.EVENT_READ)

    def connect(self, near):
        try:
            far = socket.create_connection(("127.0.0.1", self.target), timeout=1)
        except OSError:
            near.close()
            return
        far.settimeout(5)
        near.settimeout(5)
        self.pairs[near] = (far, "up")
        self.pairs[far] = (near, "down")

    def drop(self, one):
        for it in (one, self.pairs[one][0]):
            if it in self.pairs:
                if it in self.selector.get_map():
                    self.selector.unregister(it)
                del self.pairs[it]
                it.close()

    def take(self):
        near, _ = self.listener.accept()
        if {"up", "down"} <= self.held:
            self.pending.append(near)
        else:
            self.connect(near)
            self.watch()

    def pass_on(self, one):
        try:
            data = one.recv(BLOCK)
            if data:
                self.pairs[one][0].sendall(data)
        except OSError:
            data = b""
        if not data:
            self.drop(one)

    def run(self):
        while not self.closing:
            for key, _ in self.selector.select(0.05):
                with self.lock:
                    if key.fileobj is self.listener:
                        self.take()
                    elif key.fileobj in self.pairs and self.pairs[key.fileobj][1] not in self.held:
                        self.pass_on(key.fileobj)
