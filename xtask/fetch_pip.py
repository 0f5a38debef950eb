"""Download the pip wheel to the path given, for a Python that comes without pip.

Usage: fetch_pip.py DESTINATION. Uses the standard library alone; the digest is checked before anything is written.
"""

import hashlib
import sys
import urllib.request

URL = (
    "https://files.pythonhosted.org/packages/07/25/ee8c38ae72d66b844ce8eb9711ba905dba21ca1a8a0c960057c41cd23337/"
    "pip-26.3-py3-none-any.whl"
)
SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"


def main() -> int:
    try:
        with urllib.request.urlopen(URL, timeout=60) as response:
            wheel = response.read()
    except OSError as error:
        print(f"cannot download {URL}: {error}", file=sys.stderr)
        return 1
    digest = hashlib.sha256(wheel).hexdigest()
    if digest != SHA256:
        print(f"{URL} has the SHA-256 digest {digest}, expected {SHA256}", file=sys.stderr)
        return 1
    with open(sys.argv[1], "wb") as file:
        file.write(wheel)
    return 0


if __name__ == "__main__":
    sys.exit(main())
