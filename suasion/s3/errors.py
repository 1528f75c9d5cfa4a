"""What S3's and botocore's errors mean: whether trying again can help, and what a user can do about the others.

No message holds a secret, a token or a signed URL. Given up: codes that only other operations than ours get.
"""

import asyncio
import os
import re
from typing import Any

import aiohttp
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from suasion.errors import SuasionError

_AGAIN = (
    boto.HTTPClientError,
    boto.ConnectionError,
    boto.IncompleteReadError,
    boto.FlexibleChecksumError,
    ResponseParserError,  # an error page cut short
    aiohttp.ClientError,
    asyncio.TimeoutError,
    ConnectionError,
)
_AGAIN_CODES = {
    *("SlowDown", "SlowDownRead", "SlowDownWrite", "Throttling", "ThrottlingException", "RequestLimitExceeded"),
    *("RequestTimeout", "RequestTimeoutException", "TooManyRequests", "ServerBusy", "BandwidthLimitExceeded"),
    *("IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"),  # hurt on the way
    *("OperationAborted", "ConditionalRequestConflict"),  # others write the same object at this moment
}
_NOT_REACHED = (boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ProxyConnectionError)
_NO_KEYS = (boto.NoCredentialsError, boto.PartialCredentialsError, boto.ProfileNotFound, boto.ConfigParseError)
_LOGIN = (
    boto.CredentialRetrievalError,
    boto.SSOError,
    boto.LoginError,
    boto.TokenRetrievalError,
    boto.NoAuthTokenError,
)
_FULL_CODES = {"InsufficientStorage", "QuotaExceeded", "QuotaExceededException", "XMinioStorageFull", "507"}
_FULL_WORDS = re.compile(
    r"no space left|(disk|storage) (is )?full|no (free|writable) volumes|quota exceeded", re.IGNORECASE
)
_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile of ~/.aws that AWS_PROFILE names"
_SERVER = "AWS_ENDPOINT_URL_S3 (without it, AWS itself is asked)"
_REGION = ("the bucket is in another region", f"set AWS_DEFAULT_REGION to the bucket's; look at {_SERVER}")
_EXPIRED = (
    "the credentials have expired",
    "log in again (aws sso login), or set a new AWS_SESSION_TOKEN with its keys",
)
_BAD_TOKEN = (
    "the session token is not valid",
    f"set AWS_SESSION_TOKEN and the keys it came with, or none; look at {_KEYS}",
)
_DENIED = ("access is denied", f"ask the bucket's owner for the right, or use other keys: {_KEYS}")
_MEANING = {
    "NoSuchBucket": ("there is no such bucket", f"make it, or mend its name; look at {_SERVER}"),
    "InvalidBucketName": ("that is no name of a bucket", "write s3://BUCKET/KEY"),
    "SignatureDoesNotMatch": ("the secret key is wrong", f"look at {_KEYS}"),
    "InvalidAccessKeyId": ("the access key is unknown there", f"look at {_KEYS}; and at {_SERVER}"),
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled", "401", "403", "Forbidden"), _DENIED),
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"), _EXPIRED),
    **dict.fromkeys(("InvalidToken", "InvalidClientTokenId", "UnrecognizedClientException"), _BAD_TOKEN),
    "RequestTimeTooSkewed": ("this machine's clock is wrong", "set it: requests are signed with the time"),
    **dict.fromkeys(("301", "PermanentRedirect", "AuthorizationHeaderMalformed"), _REGION),
}


class ShortBodyError(ConnectionError):
    """Other bytes came than were announced or asked for."""


def may_pass(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, boto.ClientError):
        if _is_full(error):
            return False
        return status(error) in (408, 429) or status(error) >= 500 or code(error) in _AGAIN_CODES
    return isinstance(error, _AGAIN) and not isinstance(error, boto.SSLError)


def explained(error: Exception, where: str) -> Exception:
    """What to raise for an error that cannot pass: one of Python's own where the caller decides, else a `SuasionError`.

    `FileNotFoundError`: no such object (or upload). `FileExistsError`: there is one, where none may be. `EOFError`: a range
    begins behind the end.
    """
    name = code(error)
    if name in ("NoSuchKey", "NoSuchVersion", "NoSuchUpload", "404", "NotFound"):
        return FileNotFoundError(where)
    if name in ("PreconditionFailed", "412"):
        return FileExistsError(where)
    if name in ("InvalidRange", "416"):
        return EOFError(where)
    if isinstance(error, boto.SSLError):
        return SuasionError(
            f"no trusted connection: {said(error)}", where=where, do=f"look at {_SERVER}, and at AWS_CA_BUNDLE"
        )
    if isinstance(error, _NO_KEYS):
        return SuasionError(f"no credentials: {said(error)}", where=where, do=f"set {_KEYS}")
    if isinstance(error, _LOGIN):
        return SuasionError(f"no valid login: {said(error)}", where=where, do="log in again: aws sso login")
    if _is_full(error):
        return SuasionError(f"the storage is full: {said(error)}", where=where, do="make room there")
    if name == "InvalidAccessKeyId" and os.environ.get("AWS_SESSION_TOKEN"):  # what some servers say of an old token
        what, do = _EXPIRED
        return SuasionError(f"{what}, or the access key is unknown there: {said(error)}", where=where, do=do)
    if name in _MEANING:
        what, do = _MEANING[name]
        return SuasionError(f"{what}: {said(error)}", where=where, do=do)
    if isinstance(error, boto.ClientError | boto.BotoCoreError | ValueError):
        return SuasionError(f"refused: {said(error)}", where=where, do=f"look at the place's name, and at {_SERVER}")
    return error


def too_late(error: Exception, where: str, tries: int, seconds: float) -> SuasionError:
    """What to raise when the last of `tries` attempts in so many seconds has failed with `error`."""
    what, do = "the request timed out", "look whether the server is well and has room; then run again"
    if isinstance(error, _NOT_REACHED):
        what, do = "the server cannot be reached", f"look at {_SERVER}, and at the network"
    return SuasionError(f"{what}: tried {tries} times in {seconds:.1f} s, at last: {said(error)}", where=where, do=do)


def said(error: Exception) -> str:
    """An error in one line, without what nobody may see."""
    message = str(error)
    if isinstance(error, boto.ClientError):
        message = str(error.response.get("Error", {}).get("Message") or f"status {status(error)}")
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        if os.environ.get(name):
            message = message.replace(os.environ[name], "***")
    message = re.sub(r"//[^/@\s]*@", "//", re.sub(r"\?\S*", "", message))  # of URLs neither user nor query
    name = code(error) or type(error).__name__
    return " ".join(f"{name}: {message}".split())[:300].removesuffix(":")


def code(error: Exception) -> str:
    """S3's code of an error, as `NoSuchKey`, or the status where the answer had no body; empty for others."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, boto.ClientError) else ""


def status(error: Any) -> int:
    """HTTP status of an answer that botocore raised."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _is_full(error: Exception) -> bool:
    return code(error) in _FULL_CODES or (isinstance(error, boto.ClientError) and bool(_FULL_WORDS.search(str(error))))
