"""The error that becomes an answer."""

from denseam.errors import DenseAMError


class RefusedError(DenseAMError):
    """A refusal with a status of HTTP, answered in the protocol's form: ``{"error": message}``.

    Attributes:
        status: of HTTP.
        why: one word, for the metrics.
        headers: of the answer.
    """

    def __init__(
        self, status: int, why: str, message: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.why = why
        self.headers = headers or {}

    @classmethod
    def bad(cls, message: str) -> "RefusedError":
        """Return a 400: the request is malformed."""
        return cls(400, "bad_request", message)

    @classmethod
    def busy(cls, why: str, message: str, *, close: bool = False) -> "RefusedError":
        """Return a 429 with Retry-After; ``close`` where the rest of the request was not read."""
        closing = {"connection": "close"} if close else {}
        return cls(429, why, message, {"retry-after": "1", **closing})
