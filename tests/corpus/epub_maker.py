"""Small epubs for tests."""

from __future__ import annotations

import io
import zipfile


def make_epub(pages: dict[str, str], order: list[str], **metadata: str) -> bytes:
    """A minimal epub: `pages` by file name, in the reading order of `order` ("name|no": aside)."""
    fields = "".join(f"<dc:{key}>{value}</dc:{key}>" for key, value in metadata.items())
    items = "".join(
        f'<item id="{name}" href="text/{name}" media-type="application/xhtml+xml"/>'
        for name in pages
    )
    spine = "".join(
        f'<itemref idref="{name.removesuffix("|no")}"'
        + (' linear="no"/>' if name.endswith("|no") else "/>")
        for name in order
    )
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<metadata>{fields}</metadata><manifest>{items}"
        '<item id="nav" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/>'
        f'</manifest><spine><itemref idref="nav"/>{spine}</spine></package>'
    )
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/>'
        "</rootfiles></container>"
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("META-INF/container.xml", container)
        archive.writestr("OEBPS/book.opf", package)
        for name, page in pages.items():
            archive.writestr(f"OEBPS/text/{name}", page)
    return buffer.getvalue()
