"""What a store refuses, as one line that says what to do. Imports no TensorFlow.

Arrow hands on what the store said in the text of an `OSError`; the words looked for here are
those of S3 and of the libraries for Google Cloud Storage and HDFS.
"""

import contextlib
import os
import re
from collections.abc import Iterator

from recall.errors import InputError
from serving.stores import urls


class StoreAwayError(InputError):
    """A store that cannot be reached, or is busy: the same call may succeed later."""


class DamagedError(InputError):
    """What came is not what was written there: cut off on the way, or changed in the store."""


class LocalFileError(InputError):
    """A file of this machine cannot be read or written: the store is not to blame."""


class UnsaidError(InputError):
    """A store refused to say anything of a file, and gave no reason: answers to HEAD have none."""


class MissingError(InputError):
    """There is no such file or folder."""


class MissingBucketError(MissingError):
    """There is no bucket of this name, which no listing makes good."""


_CREDENTIALS = {
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine "
    "a role",
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS to a key file, or run `gcloud auth "
    "application-default login`",
    "hdfs": "Run `kinit`, or set HADOOP_USER_NAME",
}

_S3_RIGHTS = {
    "list": "s3:ListBucket",
    "read": "s3:GetObject",
    "write": "s3:PutObject",
    "remove": "s3:DeleteObject",
}
"""What an action is called in the policies of AWS."""

_S3_SOURCES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
"""Variables that lead the SDK to credentials."""

_BUCKET = re.compile(
    r"NO_SUCH_BUCKET|NoSuchBucket|bucket does not exist|INVALID_BUCKET|not a valid bucket", re.I
)
_STATUS = r"HTTP (?:response code|status) "
_SKEWED = re.compile(r"TIME_TOO_SKEWED|TimeTooSkewed", re.I)
_EXPIRED = re.compile(r"EXPIRED_TOKEN|ExpiredToken", re.I)
_REFUSED = re.compile(
    rf"ACCESS_DENIED|{_STATUS}403|Forbidden|PERMISSION_?DENIED|InvalidAccessKeyId"
    r"|INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT_MATCH|INVALID_CLIENT_TOKEN|InvalidToken"
    rf"|UNRECOGNIZED_CLIENT|UNAUTHENTICATED|{_STATUS}401"
    r"|Could not create a OAuth2|AccessControlException|Permission denied",
    re.I,
)
_AWAY = re.compile(
    r"NETWORK_CONNECTION|curlCode|SLOW_DOWN|SlowDown|SERVICE_UNAVAILABLE|INTERNAL_FAILURE"
    r"|REQUEST_TIMEOUT|RequestTimeout|THROTTLING|Retry policy exhausted|UNAVAILABLE"
    rf"|{_STATUS}5\d\d|Connection refused|timed? ?out",
    re.I,
)
_MISSING = re.compile(
    r"NO_SUCH_KEY|NoSuchKey|Path does not exist|No such file|FileNotFound|NOT_FOUND", re.I
)
_REGION = re.compile(
    rf"{_STATUS}301|PERMANENT_?REDIRECT|AUTHORIZATION_?HEADER_?MALFORMED|region '[^']*' is wrong",
    re.I,
)
_UNSAID = re.compile(r"No response body", re.I)
_NO_LIBRARY = re.compile(r"libjvm|libhdfs|CLASSPATH|JNI", re.I)
_REQUEST = re.compile(r" ?\(Request ID: [^)]*\)")


@contextlib.contextmanager
def explained(place: str, doing: str) -> Iterator[None]:
    """Turns what Arrow raises in the block into one line.

    Args:
        place: URL or path that was asked for.
        doing: What was tried: `read`, `write`, `list` or `remove`.

    Raises:
        MissingError: There is no such place.
        StoreAwayError: The store does not answer, or is busy.
        InputError: Anything else that the store refused.
    """
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError) as error:  # `ArrowInvalid` is a `ValueError`.
        raise explain(place, doing, error) from error


def explain(place: str, doing: str, error: Exception) -> InputError:
    """The error of people for one of Arrow; see `explained`."""
    if not urls.is_url(place):
        text = " ".join(str(error).split())
        reason = getattr(error, "strerror", None) or text
        if isinstance(error, FileNotFoundError):
            return MissingError(f"{place} does not exist. Check the path.")
        return LocalFileError(f"Cannot {doing} {place}: {reason}.")
    scheme, _, key = urls.split(place)
    text = _said(error, place)
    if scheme == "hdfs" and _NO_LIBRARY.search(text):
        return InputError(
            f"Cannot {doing} {place}: Hadoop's libraries are not found. Install Java and Hadoop, "
            "and set JAVA_HOME, HADOOP_HOME, ARROW_LIBHDFS_DIR and CLASSPATH (`hadoop classpath "
            "--glob`)."
        )
    if _BUCKET.search(text):
        return missing_bucket(place, doing)
    if scheme == "s3" and key and not {"", ".", ".."}.isdisjoint(key.split("/")):
        return InputError(
            f"Cannot {doing} {place}: an object with an empty part, `.` or `..` in its name cannot "
            "be reached. Rename it."
        )
    unsaid = UnsaidError if _UNSAID.search(text) else InputError
    if reason := _refusal(scheme, doing, text):
        return unsaid(f"Cannot {doing} {place}: {reason}.")
    if isinstance(error, FileNotFoundError) or _MISSING.search(text):
        return MissingError(f"{place} does not exist. Check the bucket and the name.")
    if isinstance(error, TimeoutError) or _AWAY.search(text):
        return StoreAwayError(
            f"Cannot {doing} {place}: the store does not answer ({_short(text)}). Check the "
            f"network and {_endpoint_hint(scheme)}, and try again."
        )
    return unsaid(f"Cannot {doing} {place}: {_short(text)}.")


def missing_bucket(place: str, doing: str) -> MissingBucketError:
    """The error for a bucket that is not there."""
    scheme, bucket, _ = urls.split(place)
    return MissingBucketError(
        f"Cannot {doing} {place}: there is no bucket {bucket!r}. Check the name and "
        f"{_endpoint_hint(scheme)}, or make the bucket first."
    )


def _refusal(scheme: str, doing: str, text: str) -> str | None:
    """Why a store lets nobody in, and what to do; None where it says nothing like that."""
    if _SKEWED.search(text):
        return (
            "the clock of this machine is not that of the store, which refuses requests of another "
            "time. Set the clock"
        )
    if _EXPIRED.search(text):
        return f"the credentials have expired. Get new ones. {_CREDENTIALS[scheme]}"
    if _REGION.search(text):
        return "the bucket is in another region. Set AWS_REGION to its own"
    return _denial(scheme, doing) if _REFUSED.search(text) else None


def _denial(scheme: str, doing: str) -> str:
    found = scheme != "s3" or any(os.environ.get(name) for name in _S3_SOURCES)
    found = found or os.path.exists(os.path.expanduser("~/.aws/credentials"))
    if not found:
        return f"access denied, and the environment has no credentials. {_CREDENTIALS[scheme]}"
    needed = f" ({_S3_RIGHTS[doing]})" if scheme == "s3" else ""
    return (
        f"access denied. The credentials must be valid and may {doing} there{needed}. "
        f"{_CREDENTIALS[scheme]}"
    )


def _endpoint_hint(scheme: str) -> str:
    if scheme != "s3":
        return "the project" if scheme == "gs" else "the name node"
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return f"AWS_ENDPOINT_URL={without_password(endpoint)}" if endpoint else "AWS_REGION"


def without_password(url: str) -> str:
    """A URL as people may read it.

    >>> without_password("http://me:secret@127.0.0.1:9000")
    'http://127.0.0.1:9000'
    """
    return re.sub(r"//[^/]*@", "//", url)


def _said(error: Exception, place: str) -> str:
    """What the store itself said: the words that are looked for may be in nobody's file names.

    Arrow's text also holds the names that were asked for and the random number of the request,
    in which any three letters turn up sooner or later.
    """
    text = _REQUEST.sub("", " ".join(str(error).split()))
    _, bucket, path = urls.split(place)
    for name in (place, f"{bucket}/{path}", f"'{path}'", f"'{bucket}'"):
        text = text.replace(name, "...")
    return re.sub(r"^.*?AWS Error ", "", text).strip().rstrip(".")


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."
