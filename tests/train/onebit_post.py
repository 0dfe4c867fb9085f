"""A transport between ranks that are all in this process: what one sends waits for the others."""

import threading
from collections.abc import Sequence

from torch import Tensor


class Post:
    """Where they leave what they send. Ranks that are one thread all start a collective before one waits for it."""

    def __init__(self, ranks: int) -> None:
        self.sent: list[list[Tensor]] = [[] for _ in range(ranks)]
        self.news = threading.Condition()

    def transports(self) -> "list[PostTransport]":
        return [PostTransport(self, rank) for rank in range(len(self.sent))]


class PostTransport:
    def __init__(self, post: Post, rank: int) -> None:
        self.post, self.rank, self.size = post, rank, len(post.sent)

    def all_to_all(self, send: Tensor, receive: Tensor) -> "Letter":
        return Letter(self, send.clone(), receive, [self.rank] * self.size)

    def all_gather(self, send: Tensor, receive: Tensor) -> "Letter":
        return Letter(self, send[None].clone(), receive, [0] * self.size)

    def among(self, groups: Sequence[Sequence[int]]) -> "PostTransport":
        raise AssertionError("no test asks for it")


class Letter:
    def __init__(self, transport: PostTransport, send: Tensor, receive: Tensor, rows: list[int]) -> None:
        own = transport.post.sent[transport.rank]
        self.number = len(own)
        with transport.post.news:
            own.append(send)
            transport.post.news.notify_all()
        self.transport, self.receive, self.rows = transport, receive, rows

    def wait(self) -> None:
        sent = self.transport.post.sent
        with self.transport.post.news:
            assert self.transport.post.news.wait_for(lambda: all(len(own) > self.number for own in sent), timeout=60)
        for rank, row in enumerate(self.rows):
            self.receive[rank].copy_(self.transport.post.sent[rank][self.number][row])
